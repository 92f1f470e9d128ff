"""Decode a live source in a process of its own: a crash or a hang ends the connection, not the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from pipeline.snippets import SnippetPlan
from pipeline.video.helper import Helper, serve
from pipeline.video.live_source import LiveSnippet, live_snippets, open_live
from pipeline.video.mail import Line, Message
from pipeline.video.messages import pack_plan, pack_spec, unpack_plan, unpack_spec
from pipeline.video.pictures import Framing

_WORKER = "pipeline.video.live_process:main"


class LiveDecoder:
    """One connection to a live source, decoded in another process; a context manager.

    Args:
        source: as for `open_live`.
        plan: with a rate of its own.
        spec: the encoder's definition.
        idle_seconds: as for `open_live`.
        timeout_seconds: time beyond the idle one after which a silent process is given up.
        entry: what the process runs.
    """

    def __init__(
        self,
        source: str,
        plan: SnippetPlan,
        spec: Framing,
        *,
        idle_seconds: float,
        timeout_seconds: float,
        entry: str = _WORKER,
    ) -> None:
        self._helper = Helper(entry, patience_seconds=idle_seconds + timeout_seconds)
        settings = {"source": source, "plan": pack_plan(plan), "spec": pack_spec(spec), "idle_seconds": idle_seconds}
        self._helper.ask("settings", settings)

    def __enter__(self) -> LiveDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._helper.close()

    def open(self) -> None:
        """Wait until the source is open.

        Raises:
            VideoError: it cannot be opened; crashed or timeout.
        """
        self._helper.answer("opened")

    def snippets(self, *, on_frame: Callable[[float], None]) -> Iterator[LiveSnippet]:
        """Yield the snippets of the opened source, each when its last frame has ended.

        Args:
            on_frame: called with the seconds of each frame since the first, and at last with the duration.

        Raises:
            VideoError: as `live_snippets`; crashed or timeout.
        """
        while (message := self._helper.answer("heard", "snippet", "ended")).name != "ended":
            snippet = None
            with self._helper.distrusted():
                if message.name == "heard":
                    on_frame(float(message.values[0]))
                else:
                    row, shape = message.values
                    snippet = LiveSnippet(int(row), np.frombuffer(message.ticks, np.uint8).reshape(shape))
            if snippet is not None:
                yield snippet


def main() -> None:
    """Run the process: decode the source that the first message names, until it ends."""
    serve(_decode)


def _decode(line: Line, message: Message) -> None:
    settings: dict[str, Any] = message.values[0]
    container = open_live(settings["source"], idle_seconds=settings["idle_seconds"])
    line.send("opened")
    plan, spec = unpack_plan(settings["plan"]), unpack_spec(settings["spec"])
    for snippet in live_snippets(container, plan, spec, on_frame=lambda seconds: line.send("heard", seconds)):
        line.send("snippet", snippet.row, snippet.frames.shape, ticks=snippet.frames.tobytes())
    line.send("ended")
