// The page works without this; with it, it stays fresh, says when it is old, and shows times in the reader's own zone.
"use strict";

const LATE = 5; // renewals that may be missed before the page says so

function localTimes(root) {
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time:not([title])")) {
    time.title = time.textContent;
    if (!time.closest(".planned")) time.textContent = shown.format(new Date(time.dateTime));
  }
}

function inWords(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"]];
  for (const [size, name] of units) {
    const many = Math.floor(seconds / size);
    if (many) return many + " " + name + (many > 1 ? "s" : "");
  }
  return "a moment";
}

function sayWhenOld() {
  const { asOf, every } = document.body.dataset;
  if (!asOf) return; // a page about the past
  const age = Date.now() / 1000 - Number(asOf);
  const stale = document.getElementById("stale");
  const old = age > LATE * Number(every);
  if (old) {
    stale.textContent = "This page has not been renewed for " + inWords(age) +
      ": our monitoring cannot be reached. What is said here may no longer be true.";
  }
  stale.hidden = !old;
}

// One stop of the tab key for each row of bars; the arrow keys go from day to day.
function walkable(root) {
  for (const bars of root.querySelectorAll(".bars")) {
    const days = [...bars.children];
    days.forEach((day, number) => { day.tabIndex = number === days.length - 1 ? 0 : -1; });
    bars.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const next = days[days.indexOf(document.activeElement) + (step || 0)];
      if (!step || !next || !next.offsetParent) return;
      document.activeElement.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      event.preventDefault();
    });
  }
}

// Only what is not being read or used just now is replaced.
async function renew() {
  const main = document.getElementById("main");
  const used = main.contains(document.activeElement) && document.activeElement !== main;
  if (document.hidden || used || !document.querySelector(".now") || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch("./", { cache: "no-cache" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = fresh.getElementById("main");
    if (!content || fresh.body.dataset.asOf === document.body.dataset.asOf) return;
    document.body.dataset.asOf = fresh.body.dataset.asOf;
    document.title = fresh.title;
    main.replaceChildren(...content.childNodes);
    document.querySelector("footer time").replaceWith(fresh.querySelector("footer time"));
    start(document);
  } catch {
    // The network is gone, or the server: what is shown says how old it is.
  }
}

function start(root) {
  localTimes(root);
  walkable(root);
  sayWhenOld();
}

start(document);
setInterval(sayWhenOld, 10000);
setInterval(renew, Math.max(15, Number(document.body.dataset.every || 60)) * 1000);
