"""Previews of many videos, made in processes of their own: a file that ends its decoder costs only itself."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue

from pipeline.cluster.cores import usable_cores
from pipeline.progress import Report, silent
from pipeline.video.errors import VideoError
from pipeline.video.helper import Helper, serve
from pipeline.video.mail import Line, Message
from pipeline.video.preview import Preview, preview

_PATIENCE_SECONDS = 600.0
_PROCESS = "pipeline.video.preview_pool:main"


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
    helpers = [Helper(_PROCESS, patience_seconds=_PATIENCE_SECONDS) for _ in range(count)]
    free: SimpleQueue[Helper] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def make(order: Order) -> Preview | VideoError:
        helper = free.get()
        try:
            return _make(helper, order, thumbnails, copies)
        finally:
            free.put(helper)

    results = {}
    try:
        with ThreadPoolExecutor(count) as threads:
            waiting = {threads.submit(make, order): name for name, order in orders.items()}
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                report(len(results) / len(orders), f"{len(results)}/{len(orders)} videos")
    finally:
        for helper in helpers:
            helper.close()
    return results


def _make(helper: Helper, order: Order, thumbnails: bool, copies: bool) -> Preview | VideoError:
    rate = None if order.frame_rate is None else str(order.frame_rate)
    helper.ask("preview", str(order.video), str(order.folder), order.stem, rate, thumbnails, copies)
    try:
        message = helper.answer("made")
        with helper.distrusted():
            return Preview(**message.values[0])
    except VideoError as error:
        return error


def main() -> None:
    """Run the process: make one preview after another."""
    serve(_answer)


def _answer(line: Line, message: Message) -> None:
    video, folder, stem, rate, thumbnails, copies = message.values
    of_pictures = None if rate is None else Fraction(rate)
    made = preview(Path(video), Path(folder), stem, thumbnails=thumbnails, copies=copies, frame_rate=of_pictures)
    line.send("made", asdict(made))
