"""Previews of many videos, made in processes of their own: a file that ends its decoder costs only itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue

from pipeline.cluster.cores import usable_cores
from pipeline.progress import Report, silent
from pipeline.video.errors import VideoError
from pipeline.video.preview import Preview, preview
from pipeline.video.process import decoder_environment

_TIMEOUT_SECONDS = 600.0
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pipeline.video.preview_pool import _serve; _serve()"
)


@dataclass(frozen=True)
class Order:
    """A preview to make: of `video`, into `folder`, with the file name `stem`.

    Args:
        frame_rate: pictures a second, if the video is a folder of numbered pictures.
    """

    video: Path
    folder: Path
    stem: str
    frame_rate: Fraction | None = None


def previews(
    orders: Mapping[str, Order], *, thumbnails: bool, copies: bool, report: Report = silent
) -> dict[str, Preview | VideoError]:
    """Return the preview of each video, or why it has none."""
    count = min(len(orders), usable_cores())
    if not count:
        return {}
    workers = [_Worker(thumbnails=thumbnails, copies=copies) for _ in range(count)]
    free: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def make(order: Order) -> Preview | VideoError:
        worker = free.get()
        try:
            return worker.make(order)
        finally:
            free.put(worker)

    results = {}
    try:
        with ThreadPoolExecutor(count) as threads:
            waiting = {threads.submit(make, order): name for name, order in orders.items()}
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                report(len(results) / len(orders), f"{len(results)}/{len(orders)} videos")
    finally:
        for worker in workers:
            worker.end()
    return results


class _Worker:
    """A process that makes one preview after another; a new one takes the place of one that ended."""

    def __init__(self, *, thumbnails: bool, copies: bool) -> None:
        self._settings = {"thumbnails": thumbnails, "copies": copies}
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, order: Order) -> Preview | VideoError:
        if self._process is None:
            self._process = _started()
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        timer.start()
        try:
            rate = None if order.frame_rate is None else str(order.frame_rate)
            line: dict[str, str | None] = {"video": os.fsdecode(order.video), "folder": str(order.folder)}
            line |= {"stem": order.stem, "frame_rate": rate}
            process.stdin.write(json.dumps(line | self._settings).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            timer.cancel()
        if not answer:
            self.end()
            return VideoError("crashed", "the decoder's process ended, or took longer than ten minutes")
        value = json.loads(answer)
        return Preview(**value) if "seconds" in value else VideoError(value["kind"], value["reason"])

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C ends the caller, which ends it
        env=decoder_environment(),
    )


def _serve() -> None:
    """Answer each line on standard input with one on standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(_answer(order)), file=answers, flush=True)


def _answer(order: Mapping[str, str | bool | None]) -> dict[str, object]:
    rate = order["frame_rate"]
    try:
        made = preview(
            Path(str(order["video"])),
            Path(str(order["folder"])),
            str(order["stem"]),
            thumbnails=bool(order["thumbnails"]),
            copies=bool(order["copies"]),
            frame_rate=None if rate is None else Fraction(str(rate)),
        )
    except VideoError as error:
        return {"kind": error.kind, "reason": error.reason}
    except (OSError, ValueError, ArithmeticError, MemoryError) as error:
        return {"kind": "decode_error", "reason": str(error) or type(error).__name__}
    return asdict(made)
