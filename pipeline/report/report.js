"use strict";
// The list of videos and its filters. The page holds what the list shows; each video's times come from a script of its
// own, loaded when a reader chooses the video: pages opened from disk may run scripts beside them, but not read files.
const LISTED = 200; // entries of the list drawn at once
let chosen = null; // entry of the list
let times = null; // data from the chosen video's script
let listed = LISTED;
let drawn = 0; // width of the timeline when it was drawn
let afterLoading = null; // what to do when the chosen video's times are there

const filters = () => ({
  text: at("search").value.trim().toLowerCase(),
  place: at("class").value,
  subset: at("subset").value,
  ways: at("way").value === BOTH || !data.ways.length ? data.ways : [at("way").value],
  score: Number(at("score").value),
});

function passes(entry, f) {
  if (f.text && !entry.id.toLowerCase().includes(f.text)) return false;
  if (f.subset && entry.subset !== f.subset) return false;
  return f.place === "" || f.place in entry.truth || f.ways.some((way) => ((entry.best[way] || {})[f.place] ?? -Infinity) >= f.score);
}

function listItem(entry) {
  const item = document.createElement("li"), button = element("button", undefined, item);
  button.type = "button";
  if (entry === chosen) button.setAttribute("aria-current", "true");
  if (entry.strip) {
    const picture = element("img", undefined, button);
    picture.loading = "lazy";
    picture.alt = "";
    picture.src = entry.strip;
  }
  element("span", entry.id, button);
  const count = Object.values(entry.truth).reduce((sum, n) => sum + n, 0);
  const facts = [entry.subset, entry.seconds === null ? "" : clock(entry.seconds, entry.seconds < 10 ? 1 : 0), count ? `${count} annotated` : ""];
  const small = element("small", entry.failure ? `failed: ${entry.failure}` : facts.filter(Boolean).join(" · "), button);
  if (entry.seen) {
    small.append(" ");
    element("b", "seen in training", small).className = "badge";
  }
  button.disabled = !entry.file;
  button.addEventListener("click", () => choose(entry));
  return item;
}

function drawList() {
  const f = filters(), found = data.videos.filter((entry) => passes(entry, f));
  at("count").textContent = `${found.length} of ${data.videos.length} videos`;
  at("list").replaceChildren(...found.slice(0, listed).map(listItem));
  at("more").hidden = found.length <= listed;
}

function choose(entry, then = null) {
  chosen = entry;
  times = null;
  afterLoading = then;
  length = 0;
  player.pause();
  drawList();
  at("video-id").textContent = entry.id;
  at("seen").hidden = !entry.seen;
  at("playhead").hidden = at("hint").hidden = at("keys").hidden = true;
  for (const id of ["timeline", "strip", "axis"]) at(id).replaceChildren();
  delete at("strip").dataset.shown;
  const script = document.createElement("script");
  script.src = entry.file;
  script.addEventListener("load", () => script.remove());
  document.head.append(script);
}

// Called by the script of a video.
function showVideo(value) {
  if (!chosen || value.id !== chosen.id) return; // the reader has chosen another one since
  times = value;
  length = chosen.seconds;
  tell(value.note || (value.address ? "" : "The place of this video is not known; its times are."));
  if (value.address) player.src = value.address;
  else player.removeAttribute("src");
  draw();
  if (afterLoading) afterLoading();
  afterLoading = null;
}

function tell(text) {
  at("player-note").textContent = text;
  at("player-note").hidden = !text;
}

function draw() {
  if (!times) return;
  const f = filters(), width = at("tracks").clientWidth;
  drawn = width;
  const left = drawLanes(at("timeline"), times, chosen, f, f.ways);
  drawStrip(at("strip"), chosen.strip, width);
  drawAxis(at("axis"), chosen.seconds, width);
  const framed = chosen.annotated ? "Framed bars are annotated. " : "";
  const kinds = framed + (data.ways.length ? `${framed ? "The others" : "The bars"} are found, with their scores. ` : "");
  at("hint").textContent = kinds + (left ? `${left} more overlap these and are not drawn: raise the score.` : "")
    + (times.copied ? " This is a small copy without sound, since browsers may not play the original." : "");
  at("playhead").hidden = at("hint").hidden = at("keys").hidden = false;
  movePlayhead();
}

function fillFilters() {
  data.classes.forEach((label, place) => { element("option", label, at("class")).value = place; });
  const subsets = [...new Set(data.videos.map((entry) => entry.subset).filter(Boolean))];
  for (const subset of subsets) element("option", subset, at("subset")).value = subset;
  at("subset-label").hidden = subsets.length < 2;
  data.ways.forEach((way) => { element("option", way, at("way")).value = way; });
  if (data.ways.length > 1) element("option", "side by side", at("way")).value = BOTH;
  at("way-label").hidden = data.ways.length < 2;
  const { low, high, start } = data.score, slider = at("score"), step = (high - low) / 200;
  slider.min = low;
  slider.max = high;
  slider.step = step;
  slider.value = low + Math.floor((start - low) / step) * step;
  at("score-value").textContent = Number(slider.value).toFixed(2);
}

fillFilters();
for (const id of ["search", "class", "subset", "way", "score"]) {
  at(id).addEventListener("input", () => {
    listed = LISTED;
    at("score-value").textContent = Number(at("score").value).toFixed(2);
    drawList();
    draw();
  });
}
at("more").addEventListener("click", () => { listed += LISTED; drawList(); });
player.addEventListener("error", () => {
  if (player.hasAttribute("src")) tell(`This browser cannot play the file: it may have moved. ${times && times.note ? times.note : ""} The times are still right.`);
});
new ResizeObserver(() => {
  if (at("tracks").clientWidth !== drawn) draw();
}).observe(at("tracks"));
for (const button of document.querySelectorAll(".moment")) {
  button.addEventListener("click", () => {
    const { number, start, end } = button.dataset;
    choose(data.videos[number], () => playPart(Number(start), Number(end)));
    at("videos").scrollIntoView();
  });
}
// Training videos stand last: the first with something to see is one that the head does not know.
const first = data.videos.find((entry) => entry.file && Object.keys(entry.truth).length)
  || data.videos.find((entry) => entry.file && Object.values(entry.best).some((best) => Object.keys(best).length))
  || data.videos.find((entry) => entry.file);
drawList();
if (first) choose(first);
