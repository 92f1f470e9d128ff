"""What runs in a worker: a thread that works on jobs, and a counter at which jobs come in and results go out."""

from __future__ import annotations

import importlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError


@dataclass(frozen=True)
class JobResult:
    """A job has ended.

    Args:
        key: of the job.
        result: whatever the work makes of it; small, for it travels back.
        worker: where, by host and process.
    """

    key: str
    result: Any
    worker: str = ""


# Takes jobs as it has use for them, and gives what has become of them, and numbers that tell of progress in between.
Work = Callable[[Iterator[Any]], Generator[JobResult | int, None, None]]


@dataclass(frozen=True)
class Ready:
    """A worker is ready: what there is to know of it, and its work."""

    about: Any
    work: Work


class RayWorker:
    """The body of a worker, as plain Python; Ray makes an actor of it.

    The work sees one stream of jobs, so that what it keeps warm between two videos (decoder processes, half-filled
    batches) is used as in a job on one machine. When the work has done all that there was, the next job begins another.

    Args:
        opener: "module:function" that gives an :class:`Ready`; it is called in the thread that does the work.
        arguments: of that function.
        threads: of the processor, for libraries that ask the environment.
        folder: the driver's working folder, which this machine has too: paths mean the same here as there.
    """

    def __init__(self, opener: str, arguments: tuple[Any, ...], *, threads: int, folder: str) -> None:
        # Before torch is loaded, as the command line does it: see pipeline.cli.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._opener = opener
        self._arguments = arguments
        self._folder = folder
        self._changed = threading.Condition()
        self._jobs: deque[Any] = deque()
        self._ended: list[JobResult] = []
        self._progress = 0
        self._about: tuple[Any] | None = None
        self._error: BaseException | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def ready(self) -> tuple[str, Any]:
        """This worker's name, host and process, and what there is to know of it, when it is ready to work.

        Raises what keeps it from that.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._about is not None or self._error is not None)
            if self._error is not None:
                raise self._error
            assert self._about is not None
            return f"{socket.gethostname()}-{os.getpid()}", self._about[0]

    def exchange(self, jobs: Sequence[Any], seconds: float) -> tuple[list[JobResult], int]:
        """Takes jobs; gives those that have ended since the last call, waiting so long for one, and the progress.

        Raises what ended the work as a whole.
        """
        with self._changed:
            self._jobs.extend(jobs)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended or self._error is not None, timeout=seconds)
            if self._error is not None and not self._ended:
                raise self._error
            ended, self._ended = self._ended, []
            progress, self._progress = self._progress, 0
            return ended, progress

    def stop(self, seconds: float) -> None:
        """Ends the work at the next opportunity, and waits for that; what is half-done is removed by the work."""
        with self._changed:
            self._stopping = True
            self._jobs.clear()
            self._changed.notify_all()
        self._thread.join(timeout=seconds)

    def _live(self) -> None:
        try:
            self._enter_folder()
            module, name = self._opener.split(":")
            opened = getattr(importlib.import_module(module), name)(*self._arguments)
            with self._changed:
                self._about = (opened.about,)
                self._changed.notify_all()
            while self._wait_for_jobs():
                self._work(opened.work)
        except BaseException as error:  # whatever it is, it is told to whoever asks next
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _enter_folder(self) -> None:
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise PipelineError(
                f"the machine {socket.gethostname()} of the Ray cluster does not see the folder {self._folder} "
                f"({error.strerror}); work in a folder that all machines have under the same path"
            ) from None

    def _wait_for_jobs(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopping)
            return not self._stopping

    def _work(self, work: Work) -> None:
        results = work(_Stream(self._take))
        try:
            for result in results:
                with self._changed:
                    if isinstance(result, JobResult):
                        self._ended.append(result)
                        self._changed.notify_all()
                    else:
                        self._progress += result
                    if self._stopping:
                        return
        finally:
            results.close()

    def _take(self) -> Any:
        with self._changed:
            return self._jobs.popleft() if self._jobs else None


class _Stream:
    """The jobs as they are asked for. It ends while none waits, and goes on when there are some again: a work that is
    busy with earlier jobs and asks once more gets them."""

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        job = self._take()
        if job is None:
            raise StopIteration
        return job
