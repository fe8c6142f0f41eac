/* What the pages do beyond HTML: the viewer's own clock, keys, and care while a live page changes. Nothing needs it. */
(() => {
  "use strict";

  // --- times in the viewer's zone; without script they stand in the platform's ---
  const named = document.querySelector('meta[name="timezone"]').content;
  const platform = Intl.DateTimeFormat("en", { timeZone: named }).resolvedOptions().timeZone;
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const two = (number) => String(number).padStart(2, "0");
  const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

  function localTimes(root) {
    if (mine === platform) return;
    const today = day(new Date());
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      element.textContent = day(at) === today ? `${clock(at)}:${two(at.getSeconds())}` : `${day(at)} ${clock(at)}`;
    }
  }

  const zone = document.getElementById("zone");
  if (zone && mine !== platform) zone.textContent = `Times in your zone, ${mine}; the platform's is ${platform}`;
  localTimes(document);
  if (mine !== platform) {
    // What a live page brings is made local before it is painted: it would jump otherwise.
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) {
        if ([...addedNodes].some((node) => node.nodeType === Node.ELEMENT_NODE)) localTimes(target);
      }
    }).observe(document.body, { childList: true, subtree: true });
  }

  // --- on a telephone the pages are one long line: the one that is shown is to be seen ---
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // --- keys (a person can turn them off: WCAG 2.1.4) ---
  const help = document.getElementById("keys");
  const toggle = document.getElementById("keys-on");
  if (toggle) {
    toggle.checked = localStorage.getItem("keys") !== "off";
    toggle.addEventListener("change", () => localStorage.setItem("keys", toggle.checked ? "on" : "off"));
  }

  function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent);
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  const keys = {
    "/": () => document.querySelector("input[type=search]")?.focus(),
    "j": () => step(1),
    "k": () => step(-1),
    "o": () => location.assign("/"),
    "i": () => document.querySelector('nav a[href="/incidents"]')?.click(),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "Escape" && event.target.type === "search") event.target.blur();
    if (!toggle || (event.key !== "?" && !toggle.checked)) return;
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // --- a live page ---
  const connection = document.getElementById("connection");
  if (!connection) return;
  const gone = (is) => { connection.hidden = !is; };
  document.body.addEventListener("htmx:sseOpen", () => gone(false));
  document.body.addEventListener("htmx:sseError", () => gone(true));
  // What is pointed at with a key or a finger is not taken away from under it.
  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (event.detail.target.querySelector("button:focus, button:active")) event.detail.shouldSwap = false;
  });
  const title = document.title;
  const count = () => {
    const wrong = document.querySelector("[data-wrong]")?.dataset.wrong;
    document.title = wrong && wrong !== "0" ? `(${wrong}) ${title}` : title;
  };
  count();
  htmx.onLoad(count);
})();
