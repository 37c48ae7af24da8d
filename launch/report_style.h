#pragma once
// Style and script of the report page, as text inside of it.

namespace tessera {

inline constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --surface: #ffffff; --ink: #20262c; --muted: #66707a; --rule: #e4e4df;
  --run-0: #2b6c99; --run-1: #c9772b; --run-2: #3d8a60; --run-3: #8559a5; --run-4: #b04a57; --run-5: #6b7280;
  --load: #2b6c99; --warn: #c9772b; --better: #2f7d54;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181b; --surface: #1c2024; --ink: #e4e7ea; --muted: #98a2ac; --rule: #30363c;
    --run-0: #6cb0dc; --run-1: #e8a365; --run-2: #74c196; --run-3: #b795d6; --run-4: #e28a95;
    --run-5: #a4acb8;
    --load: #3f86b5; --warn: #c27a35; --better: #74c196;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header { margin-bottom: 1.75rem; }
h1 { font-size: 1.75rem; line-height: 1.25; font-weight: 650; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; font-weight: 650; margin: 2.75rem 0 .25rem; }
.kicker { margin: 0 0 .2rem; font-size: .85rem; letter-spacing: .04em; color: var(--muted); }
p { margin: .35rem 0 .9rem; max-width: 72ch; }
.note, .missing, .unit { color: var(--muted); }
.note { font-size: .92rem; }
.missing { font-style: italic; }
.card, figure.chart { background: var(--surface); border: 1px solid var(--rule); border-radius: 10px; }
.card { padding: .4rem 1.1rem; overflow-x: auto; }
.card + .card { margin-top: 1rem; }
.heats .card { margin-top: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--rule);
  vertical-align: baseline; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-top: 0; font-weight: 500; font-size: .88rem; color: var(--muted); }
tbody th { font-weight: 600; }
tr.baseline th, tr.baseline td { color: var(--muted); font-weight: 400; }
td small { display: block; font-size: .8rem; color: var(--muted); }
td small.better { color: var(--better); }
.value { font-weight: 600; }
.swatch { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em;
  background: currentColor; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .5rem 0 .9rem; padding: 0;
  list-style: none; font-size: .92rem; }
.legend span:last-child, tbody th > span:last-child { color: var(--ink); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 1rem; }
figure { margin: 0; }
figure.chart { position: relative; padding: .8rem .9rem .5rem; min-width: 0; }
figcaption { font-weight: 600; font-size: .95rem; }
.unit { font-weight: 400; font-size: .88rem; margin-left: .3em; }
svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
svg text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--surface); stroke-width: 4px; stroke-linejoin: round; }
.rule { stroke: var(--rule); stroke-width: 1; }
.axis, .cursor { stroke: var(--muted); stroke-width: 1; opacity: .6; }
.reference { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 5 4; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.9; stroke-linejoin: round;
  stroke-linecap: round; }
.faint polyline { stroke-width: 1; opacity: .28; }
.run-0 { color: var(--run-0); } .run-1 { color: var(--run-1); } .run-2 { color: var(--run-2); }
.run-3 { color: var(--run-3); } .run-4 { color: var(--run-4); } .run-5 { color: var(--run-5); }
.tip { position: absolute; pointer-events: none; z-index: 1; background: var(--surface);
  border: 1px solid var(--rule);
  border-radius: 8px; padding: .35rem .6rem; font-size: .85rem; line-height: 1.4;
  box-shadow: 0 2px 10px rgb(0 0 0 / .14);
  font-variant-numeric: tabular-nums; max-width: 80%; }
.tip div { display: flex; align-items: baseline; }
.tip b { font-weight: 600; color: var(--ink); margin-left: 1em; flex: 1; text-align: right;
  white-space: nowrap; }
.tip span:not(.swatch) { color: var(--muted); overflow-wrap: anywhere; }
.heats { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.heats .card { flex: 0 1 auto; max-width: 100%; }
.heat { border-spacing: 3px; border-collapse: separate; }
.heat caption { text-align: left; font-weight: 600; font-size: .95rem; padding: .4rem 0; }
.heat th, .heat td, .heat th:first-child, .heat td:last-child { border: 0; padding: .3rem .45rem;
  text-align: center;
  font-size: .88rem; font-weight: 400; }
.heat thead th { white-space: normal; }
.heat tbody th { color: var(--muted); }
.heat td { border-radius: 5px;
  background: color-mix(in srgb, var(--load) calc(var(--strength) * 60%), var(--surface)); }
.heat td.left { background: color-mix(in srgb, var(--warn) calc(var(--strength) * 70%), var(--surface)); }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 1rem;
  padding: 1rem 0; }
.samples div { display: flex; gap: .4rem; }
.samples img { width: calc(50% - .2rem); aspect-ratio: 1; object-fit: contain; border-radius: 6px;
  image-rendering: pixelated;
  background: var(--page); }
.samples figcaption { font-weight: 400; font-size: .82rem; color: var(--muted); margin-top: .3rem;
  overflow-wrap: anywhere; }
pre { margin: .6rem 0; overflow-x: auto;
  font: .85rem/1.5 ui-monospace, "SFMono-Regular", Menlo, "DejaVu Sans Mono", monospace; }
details { border-top: 1px solid var(--rule); padding: .5rem 0; }
details:first-child { border-top: 0; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  main { padding: 1.5rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  svg text { font-size: 17px; }
  th, td { padding: .5rem .5rem; font-size: .92rem; }
  td small, tr.baseline th { white-space: normal; }
  .card { padding: .3rem .8rem; }
  .samples { grid-template-columns: repeat(auto-fill, minmax(145px, 1fr)); }
}
)css";

/// Under the pointer: the nearest step that has a point, and the value of every series there, read back
/// from the drawing.
inline constexpr const char* kReportScript = R"js(
"use strict";
for (const svg of document.querySelectorAll("figure.chart svg")) {
  const numbers = (text) => text.split(" ").map(Number);
  const [left, right, top, bottom] = numbers(svg.dataset.box);
  const [x0, x1] = numbers(svg.dataset.x);
  const log = svg.dataset.log === "1";
  const [y0, y1] = numbers(svg.dataset.y).map((value) => (log ? Math.log10(value) : value));
  const figure = svg.parentElement, tip = figure.querySelector(".tip"), cursor = svg.querySelector(".cursor");
  const groups = svg.querySelectorAll(svg.querySelector(".smooth") ? ".smooth" : ".raw");
  const series = Array.from(groups, (group) => ({
    name: group.dataset.name,
    run: Array.from(group.classList).find((name) => name.startsWith("run-")),
    points: Array.from(group.querySelectorAll("polyline"), (line) => Array.from(line.points)).flat(),
  })).filter((one) => one.points.length > 0);
  const format = (value) => {
    if (svg.dataset.format === "percent") return (100 * value).toPrecision(3) + " %";
    if (svg.dataset.format === "plain") return Number(value.toPrecision(4)).toString();
    let unit = 0;
    while (Math.abs(value) >= 1000 && unit < 6) { value /= 1000; unit += 1; }
    return Number(value.toPrecision(3)) + " " + ["", "k", "M", "G", "T", "P", "E"][unit];
  };
  const add = (parent, tag, text, name) => {
    const child = parent.appendChild(document.createElement(tag));
    child.textContent = text;
    if (name) child.className = name;
    return child;
  };
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  const show = (event) => {
    const frame = svg.getBoundingClientRect();
    const at = ((event.clientX - frame.left) / frame.width) * svg.viewBox.baseVal.width;
    if (at < left - 8 || at > right + 8 || series.length === 0) return hide();
    const closer = (best, point) => (Math.abs(point.x - at) < Math.abs(best.x - at) ? point : best);
    const nearest = (points) => points.reduce(closer);
    const x = nearest(series.map((one) => nearest(one.points))).x;
    tip.replaceChildren();
    const at_x = Math.round(x0 + ((x - left) / (right - left)) * (x1 - x0));
    add(tip, "div", svg.dataset.axis + " " + (at_x < 1e6 ? at_x : at_x.toExponential(2)));
    for (const one of series) {
      const point = nearest(one.points);
      if (Math.abs(point.x - x) > 1) continue;
      const scaled = y0 + ((bottom - point.y) / (bottom - top)) * (y1 - y0);
      const row = add(tip, "div", "");
      add(row, "span", "", "swatch " + one.run);
      add(row, "span", one.name);
      add(row, "b", format(log ? 10 ** scaled : scaled));
    }
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    tip.hidden = false;
    const pixel = (x / svg.viewBox.baseVal.width) * frame.width;
    const room = figure.clientWidth - tip.offsetWidth - 8;
    const wanted = pixel < frame.width / 2 ? pixel + 28 : pixel - tip.offsetWidth;
    tip.style.left = Math.max(8, Math.min(room, wanted)) + "px";
    tip.style.top = frame.top - figure.getBoundingClientRect().top + 18 + "px";
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
)js";

}  // namespace tessera
