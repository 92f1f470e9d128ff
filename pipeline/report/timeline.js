"use strict";
// Draws the chosen video's timeline: thumbnails, a lane for each class, and an axis in round numbers.
const data = JSON.parse(document.getElementById("data").textContent);
const THUMBNAILS = 16; // in the picture of a video
const DEEPEST = 8; // bars that overlap each other, drawn in rows below each other
const ROUND = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800];
const ROW_REM = 1.6; // height of a row of bars
const SCORE_PIXELS = 32; // width of a score
const BOTH = "\u0000both";
const at = (id) => document.getElementById(id);

const element = (name, text, parent) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
};

// A time as 0:07, or 0:07.5 with `digits`.
function clock(seconds, digits = 0) {
  const total = Number(seconds.toFixed(digits)), minutes = Math.floor(total / 60);
  const rest = (total - 60 * minutes).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

// Returns the depth of each item: those that overlap lie below each other, each in the first free place.
function depthsOf(extents) {
  const lanes = [];
  return extents.map(([start, end]) => {
    let depth = lanes.findIndex((taken) => taken.every((other) => other[1] <= start || end <= other[0]));
    if (depth < 0) depth = lanes.push([]) - 1;
    lanes[depth].push([start, end]);
    return depth;
  });
}

// Says where the score of a bar stands: in it, or beside it if it does not fit.
const sideOf = ([start, end, , score], seconds, least) => (score === undefined || end - start >= least ? "" : seconds - end < least ? "before" : "after");

function extentOf(item, seconds, least) {
  const side = sideOf(item, seconds, least);
  return [item[0] - (side === "before" ? least : 0), item[1] + (side === "after" ? least : 0)];
}

// Draws one row of a lane; returns how many bars found no place.
function drawRow(lane, caption, kind, items, seconds) {
  const row = element("div", undefined, lane), least = (SCORE_PIXELS * seconds) / (at("tracks").clientWidth || 1);
  const depths = depthsOf(items.map((item) => extentOf(item, seconds, least)));
  row.className = `row ${kind}`;
  element("span", caption, row).className = "caption";
  row.firstChild.title = caption;
  const bars = element("div", undefined, row);
  bars.className = "bars";
  bars.style.height = `${Math.min(DEEPEST, Math.max(1, ...depths.map((n) => n + 1))) * ROW_REM}rem`;
  let left = 0;
  items.forEach((item, index) => {
    if (depths[index] >= DEEPEST) left++;
    else drawBar(bars, item, depths[index], seconds, sideOf(item, seconds, least));
  });
  return left;
}

function drawBar(bars, [start, end, place, score], depth, seconds, side) {
  const label = data.classes[place], bar = element("button", undefined, bars);
  bar.type = "button";
  bar.className = "segment";
  element("span", score === undefined ? label : score.toFixed(2), bar);
  if (side) bar.classList.add(side);
  bar.style.left = `${(100 * start) / seconds}%`;
  bar.style.width = `${(100 * Math.max(0, Math.min(end, seconds) - start)) / seconds}%`;
  bar.style.top = `${depth * ROW_REM + 0.12}rem`;
  bar.style.background = data.colors[place];
  if (score !== undefined) bar.style.opacity = 0.55 + 0.45 * Math.min(1, Math.max(0, (score - data.score.low) / (data.score.high - data.score.low)));
  bar.title = `${label}, ${start.toFixed(2)} to ${end.toFixed(2)} s, ` + (score === undefined ? "annotated" : `score ${score.toFixed(3)}`);
  bar.dataset.start = start;
  bar.dataset.end = end;
}

// Draws a lane for each class that is annotated or found; `ways` are the names of the detections shown.
function drawLanes(parent, times, entry, chosen, ways) {
  const ofClass = (item) => chosen.place === "" || item[2] === Number(chosen.place);
  const truth = times.truth.filter(ofClass).sort((a, b) => a[0] - b[0]);
  const found = ways.map((way) => (times.found[way] || []).filter((item) => ofClass(item) && item[3] >= chosen.score).sort((a, b) => b[3] - a[3]));
  const places = [...new Set([truth, ...found].flat().map((item) => item[2]))].sort((a, b) => a - b);
  let left = 0;
  parent.replaceChildren();
  for (const place of places) {
    const lane = element("div", undefined, parent), own = (item) => item[2] === place;
    lane.className = ways.length > 1 ? "lane compare" : "lane";
    const isFirst = entry.annotated;
    if (isFirst) left += drawRow(lane, data.classes[place], "truth", truth.filter(own), entry.seconds);
    found.forEach((items, number) => {
      const caption = isFirst || number ? (ways.length > 1 ? ways[number] : "found") : data.classes[place];
      left += drawRow(lane, caption, "found", items.filter(own), entry.seconds);
    });
  }
  if (!places.length) element("p", "Nothing is annotated or found here at this score.", parent).className = "hint";
  return left;
}

function drawAxis(parent, seconds, width) {
  const step = ROUND.find((one) => (one / seconds) * width >= 56) || ROUND[ROUND.length - 1];
  parent.replaceChildren();
  for (let k = 0; k * step < seconds; k++) {
    if (k && ((seconds - k * step) / seconds) * width < 40) break; // no room for its text
    element("span", clock(k * step, step < 1 ? 1 : 0), parent).style.left = `${(100 * k * step) / seconds}%`;
  }
}

// Shows as many thumbnails as fit side by side, each of a moment in its share of the time.
function drawStrip(parent, file, width) {
  if (parent.dataset.shown === `${file} ${width}`) return;
  parent.dataset.shown = `${file} ${width}`;
  parent.replaceChildren();
  if (!file) return;
  const picture = new Image();
  picture.addEventListener("load", () => {
    const natural = picture.naturalWidth / THUMBNAILS;
    const count = Math.min(THUMBNAILS, Math.max(3, Math.round(width / natural)));
    const shown = width / count;
    const cells = Array.from({ length: count }, (_, k) => {
      const cell = document.createElement("div"), inner = element("div", undefined, cell);
      inner.style.width = `${shown}px`;
      inner.style.height = `${(shown * picture.naturalHeight * THUMBNAILS) / picture.naturalWidth}px`;
      inner.style.background = `url("${file}") ${-Math.floor(((k + 0.5) * THUMBNAILS) / count) * shown}px 0 / ${THUMBNAILS * shown}px auto`;
      return cell;
    });
    if (parent.dataset.shown === `${file} ${width}`) parent.replaceChildren(...cells);
  });
  picture.src = file;
}
