"""The main process's side of a decoder process: start it, read its ring of frames, end it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.snippets import SnippetPlan
from pipeline.video.decode import FRAMES_PER_CHUNK
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.flow_pictures import PICTURE_CHANNELS, most_pictures_held
from pipeline.video.mail import Mailbox
from pipeline.video.messages import pack_info, pack_plan, pack_spec
from pipeline.video.pictures import Framing
from pipeline.video.ranges import CuttableVideo, VideoRange
from pipeline.video.schedule import most_frames_held
from pipeline.video.videos import VideoFile

# The worker is not a multiprocessing.Process: that would import the main module again (and torch with it), and every
# script that uses the pool would need a guard.
_START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "module, name = sys.argv[-1].split(':'); getattr(importlib.import_module(module), name)()"
)
# Addresses and times, removed so that equal runs give equal messages.
_BY_CHANCE = re.compile(r"( @ )?0x[0-9a-f]+|^\[\d\d:\d\d:\d\d\] \S+:\d+: ")
_CHUNKS_AHEAD = 4
_SECONDS_TO_DIE = 2.0
_SECRETS = ("AWS_", "GOOGLE_", "FSSPEC_", "RAY_")  # prefixes of variables with credentials
# By default glibc returns the memory of each scaled picture to the system and faults its pages in again for the next.
# On the heap instead, decoding is some percent faster (scripts/bench/decode).
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


@dataclass
class Job:
    """A video in a worker."""

    video: VideoFile
    next_row: int  # earlier rows have arrived, or are not wanted


class Process:
    """A decoder process with its mailbox, its ring of frames in shared memory, and its jobs (it works on the first).

    The shared memory has no name in any file system, so it disappears with the last process that has it, however that
    process ends.
    """

    def __init__(self, settings: DecodeSettings, *, entry: str) -> None:
        self.jobs: deque[Job] = deque()
        self.ready = False
        self.last_heard = time.monotonic()
        shape = ring_shape(settings.spec, settings.plan)
        memory = _anonymous_file(int(np.prod(shape)))
        ours, theirs = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        try:
            self._memory = mmap.mmap(memory, int(np.prod(shape)))
            self._popen = start_process(entry, theirs.fileno(), memory, stderr=self._stderr)
        finally:
            theirs.close()
            os.close(memory)
        self.mail = Mailbox(ours)
        self._ring: NDArray[np.uint8] = np.frombuffer(self._memory, dtype=np.uint8).reshape(shape)
        packed = {
            "plan": pack_plan(settings.plan),
            "spec": pack_spec(settings.spec),
            "limits": asdict(settings.limits),
            "decoder": settings.decoder,
            "shape": shape,
            "flow": settings.flow and asdict(settings.flow),
            "audio": settings.audio and asdict(settings.audio),
        }
        self.mail.post("settings", packed)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def give(self, job: Job) -> None:
        """Queue a job."""
        if not self.jobs:
            self.last_heard = time.monotonic()
        self.jobs.append(job)
        video = job.video
        order: dict[str, Any] = {"path": str(job.video.file)}
        ticks = b""
        if video.frame_rate is not None:
            order["frame_rate"] = str(video.frame_rate)
        if isinstance(video, CuttableVideo):
            order["longest_seconds"] = video.longest_seconds
        elif isinstance(video, VideoRange):
            order["rows"] = (video.first_row, video.end_row, video.num_rows)
            order["info"], ticks = pack_info(video.info)
        self.mail.post("job", order, ticks=ticks)

    def frames(self, ordinals: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of frames in the ring, uint8 [P, H, W, 3]; of pictures with flow, [P, H, W, 5]."""
        gathered: NDArray[np.uint8] = self._ring[ordinals % len(self._ring)]
        return gathered

    def release(self, before: int) -> None:
        """Free the slots of all frames with smaller ordinals."""
        self.mail.post("release", before)

    def kill(self) -> None:
        """End the process at once, see `kill`."""
        kill(self._popen)
        self.mail.close()
        self._stderr.close()

    def exit_reason(self) -> tuple[bool, str]:
        """Return whether the system killed a process that has closed its line, and how it ended, in words."""
        try:
            code = self._popen.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return False, "the decoder's process fell silent"
        # The process ignores SIGINT and SIGTERM, so this signal came from the kernel, out of memory.
        return code == -signal.SIGKILL, ending(code, self._stderr)


def start_process(entry: str, *descriptors: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that decodes, out of reach of a Ctrl-C and without credentials.

    Args:
        entry: "module:function", what it runs. It finds the number of this process and the descriptors in
            `sys.argv[2:]`.
        descriptors: files that it inherits.
        stderr: takes what it prints, for `ending`.
    """
    arguments = [json.dumps(sys.path), str(os.getpid()), *map(str, descriptors), entry]
    return subprocess.Popen(
        [sys.executable, "-c", _START, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=descriptors,
        start_new_session=True,  # so that a Ctrl-C never reaches it
        env=decoder_environment(),
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process at once; do not wait for one that hangs in the system, on a disk that does not answer."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_SECONDS_TO_DIE)


def ring_shape(spec: Framing, plan: SnippetPlan) -> tuple[int, int, int, int]:
    """Return the shape of the ring: slots, height, width, channels.

    It holds all frames that may be needed until the next snippet is complete, or worker and main process would wait for
    each other; and a few more.
    """
    held = most_pictures_held(plan) if plan.flow else most_frames_held(plan)
    slots = held + _CHUNKS_AHEAD * FRAMES_PER_CHUNK
    return slots, spec.crop_size, spec.crop_size, PICTURE_CHANNELS if plan.flow else 3


def decoder_environment() -> dict[str, str]:
    """Return the variables of a process that decodes."""
    return {**_without_secrets(os.environ), **_ENVIRONMENT}


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without credentials: decoders read untrusted files and need none."""
    return {name: value for name, value in environment.items() if not name.startswith(_SECRETS)}


def ending(code: int, stderr: IO[bytes]) -> str:
    """Return how a process ended, in words, with the last line that it printed.

    Args:
        code: as `subprocess.Popen.wait` returns it.
        stderr: as given to `start_process`.
    """
    words = _last_words(stderr)
    return f"the decoder's process {_how(code)}{words and ': '}{words}"


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _last_words(stderr: IO[bytes]) -> str:
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 2000))
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return _BY_CHANCE.sub("", lines[-1]) if lines else ""


def _anonymous_file(size: int) -> int:
    """Return a descriptor of shared memory without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
