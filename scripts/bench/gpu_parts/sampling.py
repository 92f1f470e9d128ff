"""Sample where the main thread of this process and the GPU spend their time."""

import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType, TracebackType

from gpu_parts.packing import ROOT

SECONDS = 0.003


class Sampler:
    """A context manager that samples at which line of the project the main thread is."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self._main = threading.main_thread().ident
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def shares(self, count: int) -> list[tuple[str, float]]:
        """Return the lines with the most samples, and their shares."""
        return [(line, hits / self.lines.total()) for line, hits in self.lines.most_common(count)]

    def _watch(self) -> None:
        while not self._over.wait(SECONDS):
            frame = sys._current_frames().get(self._main or 0)
            if frame is not None:
                self.lines[_place(frame)] += 1


def _place(frame: FrameType) -> str:
    """Return the innermost line of the project."""
    inner: FrameType | None = frame
    while inner is not None and not inner.f_code.co_filename.startswith((f"{ROOT}/pipeline", f"{ROOT}/encoders")):
        inner = inner.f_back
    if inner is None:
        return "elsewhere"
    file = Path(inner.f_code.co_filename).relative_to(ROOT)
    return f"{file}:{inner.f_lineno} {inner.f_code.co_name}"


class GpuWatch:
    """The mean utilization of the GPU by nvidia-smi, in percent; None if unavailable."""

    def __enter__(self) -> "GpuWatch":
        self.percent: float | None = None
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
            self._process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        time.sleep(0.05)
        self._process.terminate()
        words = self._process.communicate(timeout=10)[0].split()
        numbers = [float(word) for word in words if word.replace(".", "").isdigit()]
        self.percent = sum(numbers) / len(numbers) if numbers else None
