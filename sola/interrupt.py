"""Delay Ctrl-C and SIGTERM until the current step is complete."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Delay a Ctrl-C or SIGTERM that arrives inside the block until its end.

    Half an update of the weights is no state worth saving. A second signal takes effect at once. The delayed signal
    calls the program's own handler. A signal without a handler (SIGTERM, unless the program handles it) is not
    delayed, and outside the main thread none is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    callables = {number: handler for number, handler in handlers.items() if callable(handler)}
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            callables[signal.Signals(number)](number, frame)

    for number in callables:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in callables.items():
            signal.signal(number, handler)
    if held:
        first, frame = held[0]
        callables[signal.Signals(first)](first, frame)
