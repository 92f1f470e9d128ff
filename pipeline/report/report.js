"use strict";
// The page holds its data; each video's times come from a script of its own, loaded when a reader chooses the video.
const data = JSON.parse(document.getElementById("data").textContent);
const LISTED = 200; // entries of the list drawn at once
const PICTURED = 40; // maximum number of lanes of detections
const at = (id) => document.getElementById(id);
const player = at("player");
let chosen = null; // entry of the list
let times = null; // data from the chosen video's script
let listed = LISTED;

const color = (place) => `hsl(${(place * 137.508) % 360} 65% 68%)`;
const clock = (seconds) => {
  const whole = Math.floor(seconds), rest = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
};
const element = (name, text, parent) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
};
const filters = () => ({
  text: at("search").value.trim().toLowerCase(),
  place: at("class").value,
  subset: at("subset").value,
  way: at("way").value,
  score: Number(at("score").value),
});

function passes(entry, f) {
  if (f.text && !entry.id.toLowerCase().includes(f.text)) return false;
  if (f.subset && entry.subset !== f.subset) return false;
  const best = entry.best[f.way] || {};
  return f.place === "" || f.place in entry.truth || (best[f.place] ?? -1) >= f.score;
}

function drawList() {
  const f = filters(), found = data.videos.filter((entry) => passes(entry, f));
  at("count").textContent = `${found.length} of ${data.videos.length} videos`;
  const items = found.slice(0, listed).map((entry) => {
    const item = document.createElement("li"), button = element("button", entry.id, item);
    button.type = "button";
    if (entry === chosen) button.setAttribute("aria-current", "true");
    const count = Object.values(entry.truth).reduce((sum, n) => sum + n, 0);
    const facts = [entry.subset, entry.seconds === null ? "" : clock(entry.seconds), count ? `${count} annotated` : ""];
    element("small", entry.failure ? `failed: ${entry.failure}` : facts.filter(Boolean).join(" · "), button);
    button.disabled = !entry.file;
    button.addEventListener("click", () => choose(entry));
    return item;
  });
  at("list").replaceChildren(...items);
  at("more").hidden = found.length <= listed;
}

function choose(entry) {
  chosen = entry;
  times = null;
  drawList();
  at("video-id").textContent = entry.id;
  at("timeline").replaceChildren();
  const script = document.createElement("script");
  script.src = entry.file;
  script.addEventListener("load", () => script.remove());
  document.head.append(script);
}

// Called by the script of a video.
function showVideo(value) {
  if (!chosen || value.id !== chosen.id) return; // the reader has chosen another one since
  times = value;
  at("player-note").hidden = true;
  if (value.address) player.src = value.address;
  else player.removeAttribute("src");
  drawTimeline();
}

function lanesOf(items) {
  // Overlapping items lie in lanes below each other, each in the first free lane.
  const ends = [];
  return items.map((item) => {
    let lane = ends.findIndex((end) => end <= item[0]);
    if (lane < 0) lane = ends.length;
    ends[lane] = item[1];
    return lane;
  });
}

function drawLanes(parent, items, kind) {
  const lanes = lanesOf(items), box = element("div", undefined, parent), most = Math.max(1, ...lanes.map((n) => n + 1));
  box.className = `lanes ${kind}`;
  box.style.height = `${Math.min(most, PICTURED) * 1.4 + 0.3}rem`;
  items.forEach(([start, end, place, score], index) => {
    if (lanes[index] >= PICTURED) return;
    const label = data.classes[place], button = element("button", label, box);
    button.type = "button";
    button.className = "segment";
    button.style.left = `${(100 * start) / chosen.seconds}%`;
    button.style.width = `${(100 * (end - start)) / chosen.seconds}%`;
    button.style.top = `${lanes[index] * 1.4 + 0.15}rem`;
    button.style.background = color(place);
    if (score !== undefined) button.style.opacity = 0.45 + 0.55 * score;
    button.title = `${label}, ${start.toFixed(2)} to ${end.toFixed(2)} s` + (score === undefined ? "" : `, score ${score.toFixed(3)}`);
    button.dataset.start = start;
    button.addEventListener("click", (event) => { event.stopPropagation(); seek(start); });
  });
}

function drawTimeline() {
  if (!times) return;
  const f = filters(), timeline = at("timeline");
  const ofClass = (item) => f.place === "" || item[2] === Number(f.place);
  const truth = times.truth.filter(ofClass).sort((a, b) => a[0] - b[0]);
  const found = (times.found[f.way] || []).filter((item) => ofClass(item) && item[3] >= f.score).sort((a, b) => b[3] - a[3]);
  timeline.replaceChildren();
  drawLanes(timeline, truth, "truth");
  drawLanes(timeline, found, "found");
  const axis = element("div", undefined, timeline);
  axis.className = "axis";
  for (let k = 0; k <= 4; k++) {
    const mark = element("span", clock((chosen.seconds * k) / 4), axis);
    mark.style.left = `${25 * k}%`;
  }
  const head = element("div", undefined, timeline);
  head.id = "playhead";
  movePlayhead();
  const places = [...new Set([...truth, ...found].map((item) => item[2]))].sort((a, b) => a - b);
  at("legend").replaceChildren(...places.map((place) => {
    const entry = document.createElement("span");
    element("i", undefined, entry).style.background = color(place);
    entry.append(data.classes[place]);
    return entry;
  }));
  at("hint").hidden = false;
}

function seek(seconds) {
  player.currentTime = seconds;
  player.dataset.asked = seconds; // kept even if the file cannot be played
  movePlayhead(seconds);
}

function movePlayhead(seconds = player.currentTime) {
  const head = at("playhead");
  if (head && chosen) head.style.left = `${Math.min(100, (100 * seconds) / chosen.seconds)}%`;
}

at("timeline").addEventListener("click", (event) => {
  if (!times) return;
  const box = at("timeline").getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * chosen.seconds);
});
player.addEventListener("timeupdate", () => movePlayhead());
player.addEventListener("error", () => { at("player-note").hidden = !player.hasAttribute("src"); });

data.classes.forEach((label, place) => { element("option", label, at("class")).value = place; });
for (const subset of new Set(data.videos.map((entry) => entry.subset).filter(Boolean))) element("option", subset, at("subset")).value = subset;
data.ways.forEach((way) => { element("option", way, at("way")).value = way; });
at("way-label").hidden = data.ways.length === 0;
for (const id of ["search", "class", "subset", "way", "score"]) {
  at(id).addEventListener("input", () => {
    listed = LISTED;
    at("score-value").textContent = Number(at("score").value).toFixed(2);
    drawList();
    drawTimeline();
  });
}
at("more").addEventListener("click", () => { listed += LISTED; drawList(); });
drawList();
const first = data.videos.find((entry) => entry.file && Object.keys(entry.truth).length) || data.videos.find((entry) => entry.file);
if (first) choose(first);
