"""The body of a worker: one thread works on jobs; calls bring jobs in and take results out."""

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
    """The result of a job.

    Args:
        key: the job's key.
        result: what the work returns for the job; keep it small, it travels back to the driver.
        worker: host and process that did the job.
    """

    key: str
    result: Any
    worker: str = ""


@dataclass(frozen=True)
class RowsAdded:
    """Rows made since the last report by jobs that still run; negative when rows become void."""

    count: int


# Takes jobs when it has room for them; yields their results, and progress in between.
Work = Callable[[Iterator[Any]], Generator[JobResult | RowsAdded, None, None]]


@dataclass(frozen=True)
class Ready:
    """A worker that can start: a description of it for the driver, and its work."""

    about: Any
    work: Work


class RayWorker:
    """A worker in plain Python; Ray makes an actor of it.

    The work sees one stream of jobs, so it keeps decoder processes and half-filled batches from one video to the next,
    as on a single machine. When the work has finished all its jobs, the next job starts a new stream.

    Args:
        opener: "module:function" that returns a `Ready`; called in the thread that does the work.
        arguments: arguments of that function.
        threads: processor threads, for libraries that read them from the environment.
        folder: the driver's working folder. It must exist on this machine too, so that paths mean the same.
    """

    def __init__(self, opener: str, arguments: tuple[Any, ...], *, threads: int, folder: str) -> None:
        # Set before torch loads, as in pipeline.cli.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._opener = opener
        self._arguments = arguments
        self._folder = folder
        self._changed = threading.Condition()
        self._jobs: deque[Any] = deque()
        self._ended: list[JobResult] = []
        self._rows_added = 0
        self._about: tuple[Any] | None = None
        self._error: BaseException | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def ready(self) -> tuple[str, Any]:
        """Wait until the worker can start; return its name (host and process) and its description.

        Raises:
            Exception: whatever the opener raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._about is not None or self._error is not None)
            if self._error is not None:
                raise self._error
            assert self._about is not None
            return f"{socket.gethostname()}-{os.getpid()}", self._about[0]

    def exchange(self, jobs: Sequence[Any], seconds: float) -> tuple[list[JobResult], int]:
        """Take jobs; return the results since the last call and the rows added since then.

        Args:
            seconds: how long to wait for a result if there is none yet.

        Raises:
            Exception: whatever ended the work.
        """
        with self._changed:
            self._jobs.extend(jobs)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended or self._error is not None, timeout=seconds)
            if self._error is not None and not self._ended:
                raise self._error
            ended, self._ended = self._ended, []
            rows, self._rows_added = self._rows_added, 0
            return ended, rows

    def stop(self, seconds: float) -> None:
        """Stop the work at the next result and wait up to `seconds`; the work removes what it has half-done."""
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
        except BaseException as error:  # the next call raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _enter_folder(self) -> None:
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise PipelineError(
                f"the machine {socket.gethostname()} of the Ray cluster does not see the folder {self._folder} "
                f"({error.strerror}); use a folder that all machines have under the same path"
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
                        self._rows_added += result.count
                    if self._stopping:
                        return
        finally:
            results.close()

    def _take(self) -> Any:
        with self._changed:
            return self._jobs.popleft() if self._jobs else None


class _Stream:
    """Jobs on demand. It stops when no job waits and continues when new ones arrive, so work that is still busy with
    earlier jobs can ask again."""

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        job = self._take()
        if job is None:
            raise StopIteration
        return job
