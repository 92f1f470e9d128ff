"use strict";
// Plays from the start of a bar to its end; keys; the line that shows where the video is.
const player = at("player");
let length = 0; // seconds of the chosen video
let stopAt = null; // seconds; null: play on

function movePlayhead(seconds = player.currentTime) {
  at("playhead").style.left = `${length ? Math.min(100, (100 * seconds) / length) : 0}%`;
}

function seek(seconds) {
  stopAt = null;
  const to = Math.max(0, Math.min(length, seconds));
  player.currentTime = to;
  player.dataset.asked = to; // kept even if the file cannot be played
  movePlayhead(to);
}

// Plays from `start` to `end`. A browser may refuse to play (a format, a rule): then it has moved there at least.
function playPart(start, end) {
  seek(start);
  stopAt = end;
  player.dataset.until = end;
  const playing = player.play();
  if (playing) playing.catch(() => {});
}

function playBar(bar) {
  for (const other of document.querySelectorAll(".segment[aria-current]")) other.removeAttribute("aria-current");
  bar.setAttribute("aria-current", "true");
  playPart(Number(bar.dataset.start), Number(bar.dataset.end));
}

// Plays the bar before (-1) or after (1) the current one, in the order of their starts.
function playNext(by) {
  const bars = [...document.querySelectorAll("#timeline .segment")];
  bars.sort((a, b) => a.dataset.start - b.dataset.start);
  if (!bars.length) return;
  const now = bars.findIndex((bar) => bar.hasAttribute("aria-current"));
  const next = now < 0 ? (by > 0 ? 0 : bars.length - 1) : now + by;
  if (bars[next]) playBar(bars[next]);
}

function follow() {
  if (stopAt !== null && player.currentTime >= stopAt) {
    player.pause();
    stopAt = null;
  }
  movePlayhead();
  if (!player.paused) requestAnimationFrame(follow);
}

const KEYS = {
  " ": () => {
    stopAt = null;
    if (player.paused) player.play().catch(() => {});
    else player.pause();
  },
  ArrowLeft: (event) => seek(player.currentTime - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => seek(player.currentTime + (event.shiftKey ? 10 : 1)),
  ArrowUp: () => playNext(-1),
  ArrowDown: () => playNext(1),
};

// The keys are the video's while it is on the screen, except where they have another meaning.
function isOurs(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || !length) return false;
  const on = event.target instanceof Element ? event.target : document.body;
  if (on.closest("input, select, textarea, summary, a, .scroll, button:not(.segment)")) return false;
  const box = player.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}

document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || !isOurs(event)) return;
  event.preventDefault(); // else the page scrolls, and the video's own controls act too
  event.stopPropagation();
  act(event);
}, true);
document.addEventListener("keyup", (event) => {
  // A bar that has the focus would be clicked by the space key.
  if (event.key === " " && isOurs(event)) event.preventDefault();
}, true);
at("tracks").addEventListener("click", (event) => {
  if (!length) return;
  const bar = event.target.closest(".segment");
  if (bar) {
    playBar(bar);
    return;
  }
  const box = at("tracks").getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * length);
});
player.addEventListener("play", follow);
player.addEventListener("timeupdate", () => movePlayhead());
player.addEventListener("seeking", () => movePlayhead());
