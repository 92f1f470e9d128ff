"""Holding Ctrl-C and SIGTERM back while a step is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Lets a Ctrl-C or SIGTERM that arrives inside take effect only when the block is left.

    Between half an update of the weights and the other half there is no state worth saving. A second signal takes
    effect at once. What a signal does is up to the program's handlers, which are called then; a signal without one
    (SIGTERM, unless the program handles it) is not held back, and nothing is outside the main thread.
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
