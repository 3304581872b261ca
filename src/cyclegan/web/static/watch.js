// The live page: asks the server for the runs every two seconds, and draws what has changed. All addresses are relative.
"use strict";

const INTERVAL = 2000; // milliseconds between two questions
const COLORS = 6; // --c0 to --c5 in the style sheet
const CHART = { height: 220, left: 46, right: 10, top: 8, bottom: 26 };
const $ = (id) => document.getElementById(id);
const page = {
  runs: [], // summaries of all runs
  details: new Map(), // name -> everything about a selected run
  colors: new Map(), // name -> number of its color
  tags: new Map(), // address -> ETag of the last answer
  selected: null, // names; null until the first answer
  step: null, // that the slider shows; null follows the newest
  playing: 0,
};

// --- Small helpers

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") for (const [key, each] of Object.entries(value)) made.style.setProperty(key, each);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function shape(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "color") made.style.setProperty("--color", value);
    else made.setAttribute(name, value);
  }
  made.textContent = text;
  return made;
}

const count = (value) => Math.round(value).toLocaleString("en-US");
const percent = (fraction) => `${Math.floor(100 * fraction + 1e-9)} %`;
const figure = (value) => (Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(3))));
const color = (name) => {
  if (!page.colors.has(name)) page.colors.set(name, page.colors.size % COLORS); // stays when runs are added
  return `var(--c${page.colors.get(name)})`;
};
const several = () => page.selected.length > 1;
const shown = () => page.selected.map((name) => page.details.get(name)).filter(Boolean);

function duration(minutes) {
  if (minutes < 1.5) return `${Math.round(60 * minutes)} s`;
  if (minutes < 10) return `${Number(minutes.toFixed(1))} min`;
  if (minutes < 100) return `${Math.round(minutes)} min`;
  const hours = Math.floor(Math.round(minutes) / 60);
  return `${hours} h ${String(Math.round(minutes) % 60).padStart(2, "0")} min`;
}

// --- Questions to the server

async function ask(address) {
  const answer = await fetch(address, { cache: "no-cache" });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The server answered ${answer.status}.`);
  const tag = answer.headers.get("ETag");
  const changed = page.tags.get(address) !== tag;
  page.tags.set(address, tag);
  const now = Date.parse(answer.headers.get("Date")) / 1000 || Date.now() / 1000;
  return { content: await answer.json(), changed, now };
}

async function refresh() {
  const { content, changed, now } = await ask("api/runs");
  page.runs = content.runs;
  page.given = content.given;
  const first = page.selected === null;
  if (first) page.selected = selectAtFirst();
  page.selected = page.selected.filter((name) => page.runs.some((run) => run.name === name && !run.problem));
  if (!page.selected.length && first) page.selected = page.runs.filter((run) => !run.problem).slice(-1).map((run) => run.name);
  const answers = await Promise.all(
    page.selected.map(async (name) => {
      const answer = await ask(`api/runs/${encodeURIComponent(name)}`);
      page.details.set(name, answer.content);
      return answer.changed;
    }),
  );
  page.selected.forEach(color);
  if (changed || first) drawPicker();
  drawCards(now);
  if (answers.some(Boolean) || first) drawDetails();
}

function selectAtFirst() {
  const asked = new URLSearchParams(location.hash.slice(1)).getAll("run");
  if (asked.length) return asked;
  const training = page.runs.filter((run) => run.state === "training");
  const newest = [...page.runs].sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0)).slice(0, 1);
  const chosen = page.runs.length <= 3 ? page.runs : training.length ? training.slice(0, COLORS) : newest;
  return chosen.map((run) => run.name);
}

async function follow() {
  if (!document.hidden) {
    try {
      await refresh();
      $("connection").textContent = "";
    } catch (error) {
      const reason = error instanceof TypeError ? "The server does not answer; trying again." : error.message;
      $("connection").textContent = reason;
      page.tags.clear();
    }
  }
  setTimeout(follow, INTERVAL);
}

// --- Head of the page

function drawPicker() {
  const runs = page.runs;
  $("title").textContent = runs.length === 1 ? runs[0].name : runs.length ? `${runs.length} runs` : "No runs yet";
  document.title = `${$("title").textContent} · cyclegan`;
  $("picker").hidden = runs.length < 2;
  const focused = document.activeElement?.closest?.("#picker") ? document.activeElement.value : null;
  const labels = runs.map((run) => {
    const box = element("input", { type: "checkbox", value: run.name, disabled: Boolean(run.problem) });
    box.checked = page.selected.includes(run.name);
    box.addEventListener("change", select);
    const state = element("small", {}, run.problem ? "unreadable" : run.state);
    return element("label", { style: { "--color": color(run.name) }, title: run.problem ?? "" }, box, run.name, state);
  });
  $("picker").replaceChildren($("picker").firstElementChild, ...labels);
  if (focused !== null) $("picker").querySelector(`[value="${CSS.escape(focused)}"]`)?.focus();
}

function select() {
  page.selected = [...$("picker").querySelectorAll(":checked")].map((box) => box.value);
  const hash = new URLSearchParams(page.selected.map((name) => ["run", name]));
  history.replaceState(null, "", `#${hash}`);
  page.tags.clear();
  refresh().then(drawDetails, () => {});
}

function drawCards(now) {
  const cards = page.runs.filter((run) => run.problem || page.selected.includes(run.name)).map((run) => {
    if (run.problem) return element("article", { className: "card" }, element("h2", {}, run.name), element("p", {}, run.problem));
    const state = element("span", { className: `state ${run.state}` }, run.state);
    const name = element("h2", {}, several() ? element("i", { className: "swatch" }) : null, page.runs.length > 1 ? run.name : run.method);
    const bar = element("progress", { value: run.progress, max: 1, ariaLabel: `Progress of ${run.name}` });
    return element(
      "article",
      { className: "card", style: { "--color": color(run.name) } },
      element("div", { className: "heading" }, name, state),
      bar,
      element("p", { className: "lead" }, element("b", {}, percent(run.progress)), ` · ${timeLeft(run)}`),
      element("ul", { className: "facts" }, ...facts(run, now).map((fact) => element("li", {}, fact))),
    );
  });
  if (!page.runs.length) {
    const where = (page.given ?? []).join(" and ");
    cards.push(element("p", {}, `There are no runs in ${where}. They appear here as soon as they start.`));
  } else if (!cards.length) cards.push(element("p", {}, "Select a run above."));
  $("cards").replaceChildren(...cards);
}

function timeLeft(run) {
  if (run.state === "complete") return `trained for ${duration(run.minutes)}`;
  if (run.state === "stopped") return `stopped after ${duration(run.minutes)}`;
  if (!run.step) return `the first figures come at step ${count(run.first_row)}`;
  return run.left === null ? "time left unknown" : `${duration(run.left)} left`;
}

function facts(run, now) {
  const each = [`step ${count(run.step)}`, `epoch ${count(run.epoch)}`, `${run.size}×${run.size} pixels`];
  if (run.state === "training") each.push(`${duration(run.minutes)} so far`);
  if (run.speed) each.push(`${figure(run.speed)} images/s`);
  const quality = run.quality;
  if (quality) {
    const input = quality.untranslated === null ? "" : `, untranslated ${figure(quality.untranslated)}`;
    each.push(`${quality.name} ${figure(quality.last)}, best ${figure(quality.best)} at step ${count(quality.best_step)}${input}`);
  }
  const seconds = run.updated === null ? 0 : now - run.updated;
  if (run.state === "training" && seconds > 90) each.push(`no news for ${duration(seconds / 60)}`);
  if (run.report) each.push(element("a", { href: `runs/${encodeURIComponent(run.name)}/report.html` }, "report"));
  return each;
}

// --- Warnings, images and curves

function drawDetails() {
  const runs = shown();
  const notes = runs.flatMap((run) => run.notes.map((note) => ({ ...note, run: run.name }))).sort((a, b) => b.step - a.step);
  const from = (note) => `${several() ? `${note.run}, ` : ""}step ${count(note.step)} · `;
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(
    element("ul", { tabIndex: 0 }, ...notes.map((note) => element("li", {}, element("span", {}, from(note)), note.text))),
  );
  drawImages();
  drawCurves();
}

const steps = () => {
  const all = shown().flatMap((run) => Object.values(run.samples).flatMap((sample) => sample.steps.map((each) => each.step)));
  return [...new Set(all)].sort((a, b) => a - b);
};

function drawImages() {
  const all = steps();
  $("images").hidden = !all.length;
  if (!all.length) return;
  const newest = all[all.length - 1];
  const current = page.step === null ? newest : all.findLast((step) => step <= page.step) ?? all[0];
  $("step").max = all.length - 1;
  $("step").value = all.indexOf(current);
  $("step").setAttribute("aria-valuetext", `Step ${count(current)}`);
  $("step-text").replaceChildren(`step ${count(current)}`, element("small", {}, page.step === null ? "newest" : `of ${count(newest)}`));
  const directions = [...new Set(shown().flatMap((run) => Object.keys(run.samples)))].sort();
  const wanted = directions.map((direction) => shown().filter((run) => run.samples[direction]));
  const key = JSON.stringify(wanted.map((runs, i) => [directions[i], runs.map((run) => [run.name, run.samples[directions[i]].headings])]));
  if ($("grids").dataset.key !== key) {
    $("grids").dataset.key = key;
    $("grids").classList.toggle("pair", !several());
    $("grids").replaceChildren(...directions.map((direction, i) => makeDirection(direction, wanted[i])));
  }
  wanted.forEach((runs, i) => runs.forEach((run) => showGrid(run, directions[i], current, all)));
}

function makeDirection(direction, runs) {
  const title = element("h3", {}, runs[0].samples[direction].domains.join(" → "));
  const figures = runs.map((run) => {
    const { headings, boxes, domains } = run.samples[direction];
    const caption = several() ? element("figcaption", {}, element("i", { className: "swatch" }), run.name, element("small")) : null;
    const cells = boxes.flatMap((row, y) =>
      row.map((_, x) => element("div", { className: "cell", role: "img", ariaLabel: `${domains[0]} ${y + 1}, ${headings[x]}` })),
    );
    const heads = headings.map((heading) => element("span", {}, heading));
    [...heads, ...cells].forEach((each, i) => each.classList.toggle("more", i % headings.length > 1));
    const grid = element("div", { className: "grid", style: { "--columns": headings.length } }, ...heads, ...cells);
    return element("figure", { id: `grid-${direction}-${run.name}`, style: { "--color": color(run.name) } }, caption, grid);
  });
  return element("div", { className: "direction" }, title, element("div", {}, ...figures));
}

function showGrid(run, direction, step, all) {
  const { width, height, boxes, steps } = run.samples[direction];
  const at = Math.max(0, steps.findLastIndex((each) => each.step <= step));
  const holder = $(`grid-${direction}-${run.name}`);
  const address = (i) => `runs/${encodeURIComponent(run.name)}/samples/${steps[i].file}`;
  const note = holder.querySelector("small");
  if (note) note.textContent = steps[at].step === step ? "" : `step ${count(steps[at].step)}`;
  holder.dataset.wanted = address(at);
  const image = new Image();
  image.onload = () => {
    if (holder.dataset.wanted !== address(at)) return; // the slider has moved on
    holder.querySelectorAll(".cell").forEach((cell, i) => {
      const [left, top, right, bottom] = boxes[Math.floor(i / boxes[0].length)][i % boxes[0].length];
      const [w, h] = [right - left, bottom - top];
      cell.style.backgroundImage = `url("${address(at)}")`;
      cell.style.backgroundSize = `${(100 * width) / w}% ${(100 * height) / h}%`;
      cell.style.backgroundPosition = `${(100 * left) / (width - w)}% ${(100 * top) / (height - h)}%`;
    });
    for (const near of [at - 1, at + 1]) if (steps[near]) new Image().src = address(near); // for the next move
  };
  image.src = address(at);
}

function drawCurves() {
  const axis = document.querySelector("[name=axis]:checked").value;
  for (const kind of ["quality", "losses"]) {
    const panels = gather(kind).filter((panel) => panel.curves.some((curve) => curve.points.length > 1));
    $(kind).hidden = !panels.length;
    const holder = $(kind).querySelector(".panels");
    holder.replaceChildren(...panels.map((panel) => makePanel(panel)));
    panels.forEach((panel, i) => drawChart(holder.children[i], panel, axis, kind === "losses"));
  }
  const first = ["quality", "losses"].find((kind) => !$(kind).hidden);
  if (first) $(first).querySelector(".heading").append($("axis"));
}

// Of one run, a panel has both directions; of several, it has one curve of each.
function gather(kind) {
  const runs = shown();
  if (!several()) {
    const colored = (curve, i) => ({ ...curve, color: `var(--c${i % COLORS})` });
    return (runs[0]?.panels[kind] ?? []).map((panel) => ({ ...panel, curves: panel.curves.map(colored) }));
  }
  const panels = new Map();
  for (const run of runs) {
    for (const panel of run.panels[kind]) {
      for (const curve of panel.curves) {
        const heading = curve.label ? `${panel.heading}, ${curve.label}` : panel.heading;
        const key = panel.heading + curve.column;
        if (!panels.has(key)) panels.set(key, { heading, curves: [] });
        panels.get(key).curves.push({ ...curve, label: run.name, color: color(run.name) });
      }
    }
  }
  return [...panels.values()];
}

function makePanel(panel) {
  const legend = panel.curves.map((curve) => {
    const value = curve.points.length ? figure(curve.points[curve.points.length - 1][3]) : "";
    return element("span", { style: { "--color": curve.color } }, curve.label ? `${curve.label} ` : "", element("b", {}, value));
  });
  const caption = element("figcaption", {}, element("h3", {}, panel.heading), element("div", { className: "legend" }, ...legend));
  return element("figure", {}, caption, element("div", { className: "chart" }));
}

// At most `most` round numbers in a range.
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++) found.push(Number((i * size).toPrecision(12)));
  return found;
}

function drawChart(holder, panel, axis, fromZero) {
  const chart = holder.querySelector(".chart");
  const width = Math.max(240, chart.clientWidth);
  const { height, left, right, top, bottom } = CHART;
  const column = axis === "step" ? 0 : 1;
  const points = panel.curves.flatMap((curve) => curve.points);
  const xs = points.map((point) => point[column]);
  const sorted = points.map((point) => point[2]).sort((a, b) => a - b);
  let low = sorted[0];
  let high = sorted[Math.floor(0.99 * (sorted.length - 1))]; // a spike would flatten everything else
  if (fromZero) low = Math.min(0, low);
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  high += margin;
  if (!fromZero || low < 0) low -= margin;
  const [start, end] = [Math.min(...xs), Math.max(...xs)];
  const x = (value) => left + ((value - start) / (end - start || 1)) * (width - left - right);
  const y = (value) => Math.max(top, height - bottom - ((value - low) / (high - low)) * (height - top - bottom));
  const last = panel.curves.map((curve) => `${curve.label} ${figure(curve.points[curve.points.length - 1]?.[3] ?? 0)}`).join(", ");
  const label = `${panel.heading}; now ${last}`;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticks(low, high, 5)) {
    svg.append(shape("line", { class: "rule", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, figure(tick)));
  }
  for (const tick of ticks(start, end || 1, Math.floor(width / 80))) {
    const anchor = x(tick) > width - right - 14 ? "end" : x(tick) < left + 6 ? "start" : "middle";
    const text = axis === "step" ? count(tick) : `${figure(tick)} min`;
    svg.append(shape("text", { x: anchor === "end" ? width - right : x(tick), y: height - 6, "text-anchor": anchor }, text));
  }
  if (axis === "step" && page.step !== null && page.step >= start && page.step <= end) {
    svg.append(shape("line", { class: "mark", x1: x(page.step), x2: x(page.step), y1: top, y2: height - bottom }));
  }
  for (const curve of panel.curves) {
    const path = (index) => curve.points.map((point, i) => `${i ? "L" : "M"}${x(point[column]).toFixed(1)} ${y(point[index]).toFixed(1)}`).join("");
    if (curve.points.length >= 20) svg.append(shape("path", { class: "raw", d: path(2), color: curve.color }));
    svg.append(shape("path", { d: path(3), color: curve.color }));
  }
  chart.replaceChildren(svg);
  chart.onpointermove = (event) => pointAt(holder, panel, svg, event, column, { x, y, start, end, width });
  chart.onpointerleave = () => {
    svg.querySelectorAll(".hair, circle").forEach((each) => each.remove());
    panel.curves.forEach((curve, i) => tell(holder, i, curve.points[curve.points.length - 1]?.[3]));
    holder.querySelector(".at")?.remove();
  };
}

const tell = (holder, i, value) => {
  if (value !== undefined) holder.querySelectorAll(".legend b")[i].textContent = figure(value);
};

// Show the values under the pointer in the legend.
function pointAt(holder, panel, svg, event, column, { x, y, start, end, width }) {
  const box = svg.getBoundingClientRect();
  const { left, right, top, bottom, height } = CHART;
  const fraction = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
  const wanted = start + Math.min(1, Math.max(0, fraction)) * (end - start);
  svg.querySelectorAll(".hair, circle").forEach((each) => each.remove());
  const nearest = panel.curves.map((curve) =>
    curve.points.reduce((best, point) => (Math.abs(point[column] - wanted) < Math.abs(best[column] - wanted) ? point : best), curve.points[0]),
  );
  const at = x(nearest[0][column]);
  svg.append(shape("line", { class: "hair", x1: at, x2: at, y1: top, y2: height - bottom }));
  nearest.forEach((point, i) => {
    svg.append(shape("circle", { cx: x(point[column]), cy: y(point[3]), r: 3.5, color: panel.curves[i].color }));
    tell(holder, i, point[3]);
  });
  const legend = holder.querySelector(".legend");
  const where = legend.querySelector(".at") ?? legend.appendChild(element("em", { className: "at" }));
  where.textContent = `step ${count(nearest[0][0])}`;
}

// --- The slider

function setStep(index) {
  const all = steps();
  page.step = index >= all.length - 1 ? null : all[index];
  drawImages();
  drawCurves();
}

function play() {
  if (page.playing) return stop();
  let index = page.step === null ? 0 : Number($("step").value);
  setStep(index);
  page.playing = setInterval(() => {
    if (++index > Number($("step").max)) return stop();
    setStep(index);
  }, 500);
  label("Pause", "M3 2h4v12H3zM9 2h4v12H9z");
}

function stop() {
  clearInterval(page.playing);
  page.playing = 0;
  label("Play from the first step", "M4 2.5v11l9-5.5z");
}

function label(text, path) {
  $("play").setAttribute("aria-label", text);
  $("play-shape").setAttribute("d", path);
}

$("play").addEventListener("click", play);
$("step").addEventListener("input", () => {
  stop();
  setStep(Number($("step").value));
});
for (const radio of document.querySelectorAll("[name=columns]")) {
  radio.addEventListener("change", () => $("grids").classList.toggle("large", radio.value === "large"));
}
for (const radio of document.querySelectorAll("[name=axis]")) radio.addEventListener("change", drawCurves);
let resizing = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => page.selected && drawCurves());
}).observe($("cards"));
document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
follow();
