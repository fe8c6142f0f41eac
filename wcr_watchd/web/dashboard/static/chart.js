/* Draws the charts of a check: the mean as a line, least to largest as a band, the rules' thresholds, and what happened. */
(() => {
  "use strict";
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const severities = { info: "info", warning: "warning", critical: "critical" };
  const lines = ["info", "ok", "unknown", "warning", "critical", "line", "edge", "text"];
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 4], [1, 2], [10, 4], [3, 1]];
  const kinds = { incident: "critical", window: "unknown", change: "info" };
  const words = { incident: "incident", window: "planned", change: "change" };

  // --- values for people, as on the rest of the page ---
  const short = (value, digits = 3) => String(Number(value.toPrecision(digits)));
  const ladder = (value, steps, digits) => {
    const step = steps.find(([size]) => Math.abs(value) >= size) || steps[steps.length - 1];
    return `${short(value / step[0], digits)} ${step[1]}`;
  };
  const times = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]];
  const sizes = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
  const units = {
    seconds: (value, digits) => (value ? ladder(value, times, digits) : "0 s"),
    bytes: (value, digits) => ladder(value, sizes, digits),
    bytes_per_second: (value, digits) => `${ladder(value, sizes, digits)}/s`,
    ratio: (value, digits) => `${short(value * 100, digits)} %`,
    seconds_per_second: (value, digits) => `${short(value * 100, digits)} %`,
    per_second: (value, digits) => `${short(value, digits)}/s`,
    celsius: (value, digits) => `${short(value, digits)} °C`,
    timestamp_seconds: (value) => moment(value),
  };
  const shown = (unit) => {
    const format = units[unit] || short;
    return (value, digits) => (value === null || value === undefined ? "–" : format(value, digits));
  };
  // As many digits as it takes to tell the values of an axis apart.
  const apart = (format, values) => {
    const texts = (digits) => values.map((value) => format(value, digits));
    const digits = [3, 4, 5, 6].find((some) => new Set(texts(some)).size === values.length);
    return texts(digits || 6);
  };

  // --- times as on the rest of the page ---
  const two = (number) => String(number).padStart(2, "0");
  const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
  const moment = (seconds) => {
    const at = new Date(seconds * 1000);
    return `${day(at)} ${clock(at)}`;
  };
  function ticks(plot, splits, axis, space, step) {
    return splits.map((seconds) => {
      const at = new Date(seconds * 1000);
      if (step >= 86400) return step >= 28 * 86400 ? day(at).slice(0, 7) : day(at).slice(5);
      return at.getHours() || at.getMinutes() ? clock(at) : day(at).slice(5);
    });
  }

  function element(name, text = "", attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  // --- what is drawn beneath and above the lines ---
  function spans(plot, data) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const mark of data.marks) {
      const left = plot.valToPos(mark.from, "x", true);
      ctx.fillStyle = colour(kinds[mark.kind]);
      ctx.globalAlpha = 0.16;
      ctx.fillRect(left, bbox.top, plot.valToPos(mark.until, "x", true) - left, bbox.height);
      ctx.globalAlpha = 0.8;
      ctx.fillRect(left, bbox.top, 2 * devicePixelRatio, bbox.height);
    }
    ctx.restore();
  }

  function thresholds(plot, data) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    for (const line of data.thresholds) {
      const y = Math.round(plot.valToPos(line.value, "y", true));
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(severities[line.severity] || "edge");
      ctx.lineWidth = 2 * ratio;
      ctx.setLineDash([6 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.fillText(line.text, bbox.left + 6 * ratio, y - 4 * ratio < bbox.top + 12 * ratio ? y + 13 * ratio : y - 4 * ratio);
    }
    ctx.restore();
  }

  function scale(data) {
    // The thresholds nearest to the values are in sight; one that is far above would flatten the line.
    return (plot, low, high) => {
      if (low === null || low === undefined) [low, high] = [0, 1];
      const room = high - low || Math.abs(high) || 1;
      for (const { value } of data.thresholds) {
        if (value > high && value < high + 3 * room) high = value;
        if (value < low && value > low - 3 * room) low = value;
      }
      const bottom = low >= 0 && low < 0.5 * high ? 0 : low - 0.08 * (high - low || room);
      return [bottom, high + 0.12 * (high - bottom || room)];
    };
  }

  function options(data, width, zoomed, drawn) {
    const format = shown(data.unit);
    const series = [{ label: "time", value: (plot, at) => (at ? moment(at) : "–") }];
    const bands = [];
    data.series.forEach((one, number) => {
      const stroke = colour(lines[number % lines.length]);
      series.push({ label: one.name, stroke, width: 1.6, dash: dashes[number % dashes.length], spanGaps: false,
        points: { show: data.times.length < 60 }, value: (plot, value) => format(value) });
      if (one.max) {
        const at = series.length;
        const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: false, value: (plot, value) => format(value) };
        series.push({ ...edge, label: "largest" }, { ...edge, label: "least" });
        bands.push({ series: [at, at + 1], fill: `${stroke}38` });
      }
    });
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("rule"), width: 1 }, ticks: { stroke: colour("rule"), width: 1 } };
    return {
      width, height: 230, series, bands,
      cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: true, range: [data.since, data.until] }, y: { range: scale(data) } },
      axes: [{ ...axis, values: ticks }, { ...axis, size: 72, values: (plot, values) => apart(format, values) }],
      hooks: {
        drawAxes: [(plot) => spans(plot, data)],
        draw: [(plot) => thresholds(plot, data), drawn],
        setSelect: [(plot) => {
          if (plot.select.width < 4) return;
          zoomed(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
        }],
      },
    };
  }

  function columns(data) {
    const found = [data.times];
    for (const one of data.series) {
      found.push(one.mean);
      if (one.max) found.push(one.max, one.min);
    }
    return found;
  }

  // What was drawn where, for whoever looks at the page with a program.
  const noted = (details, data) => (plot) => {
    details.dataset.drawn = String(data.times.length);
    details.dataset.lines = JSON.stringify(data.thresholds.map((one) => [one.value, plot.valToPos(one.value, "y", true)]));
  };

  // --- one chart ---
  function build(details) {
    const box = element("div", "", { class: "chart" });
    const tools = element("div", "", { class: "chart-tools", role: "group", "aria-label": "Move the chart" });
    const said = element("span", "", { role: "status" });
    const list = element("ul", "", { class: "chart-marks" });
    details.append(tools, box, list);
    const url = new URL(details.dataset.chart, location.href);
    let data, plot;

    function moved(since, until) {
      const now = Date.now() / 1000;
      const length = Math.max(until - since, 120);
      until = Math.min(until, now);
      load({ since: String(until - length), until: String(until) });
    }
    const span = () => data.until - data.since;
    const button = (label, action) => {
      const made = element("button", label, { type: "button" });
      made.addEventListener("click", () => data && action());
      tools.append(made);
    };
    button("Earlier", () => moved(data.since - span() / 2, data.until - span() / 2));
    button("Later", () => moved(data.since + span() / 2, data.until + span() / 2));
    button("Zoom in", () => moved(data.since + span() / 4, data.until - span() / 4));
    button("Zoom out", () => moved(data.since - span() / 2, data.until + span() / 2));
    button("Reset", () => load({}));
    tools.append(said);

    function draw() {
      if (plot) plot.destroy();
      plot = new uPlot(options(data, Math.max(260, box.clientWidth), moved, noted(details, data)), columns(data), box);
      const canvas = box.querySelector("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${data.measurement}: ${data.times.length} points, ${data.thresholds.map((one) => one.text).join(", ") || "no threshold"}; the table beside it has the figures`);
    }

    function tell() {
      list.replaceChildren();
      for (const mark of data.marks.slice(-5).reverse()) {
        const item = element("li");
        const key = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        key.setAttribute("class", "key");
        key.setAttribute("viewBox", "0 0 8 8");
        key.setAttribute("aria-hidden", "true");
        const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        square.setAttribute("class", `mark-${mark.kind}`);
        square.setAttribute("width", "8");
        square.setAttribute("height", "8");
        key.append(square);
        item.append(key, `${moment(mark.from)} ${words[mark.kind]}: `);
        item.append(mark.url ? element("a", mark.text, { href: mark.url }) : mark.text);
        list.append(item);
      }
      if (data.marks.length > 5) list.append(element("li", `and ${data.marks.length - 5} earlier ones`));
    }

    async function load(more) {
      for (const [key, value] of Object.entries(more)) url.searchParams.set(key, value);
      if (!Object.keys(more).length) ["since", "until"].forEach((key) => url.searchParams.delete(key));
      said.textContent = "loading…";
      try {
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(await answer.text());
        data = await answer.json();
        const values = data.series.some((one) => one.mean.some((value) => value !== null));
        said.textContent = values ? "drag over the chart to zoom" : "nothing was measured in that time";
        draw();
        tell();
      } catch (error) {
        said.textContent = `the chart could not be loaded: ${error.message}`;
      }
    }

    addEventListener("resize", () => plot && plot.setSize({ width: Math.max(260, box.clientWidth), height: 230 }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && draw());
    load({});
  }

  function wanted(details) {
    if (details.open && !details.dataset.begun) {
      details.dataset.begun = "yes";
      build(details);
    }
  }
  for (const details of document.querySelectorAll("[data-chart]")) {
    details.addEventListener("toggle", () => wanted(details));
    wanted(details);
  }
})();
