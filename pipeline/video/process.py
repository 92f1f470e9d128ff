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
    "module, name = sys.argv[5].split(':'); getattr(importlib.import_module(module), name)()"
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
            arguments = [json.dumps(sys.path), str(os.getpid()), str(theirs.fileno()), str(memory), entry]
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,  # so that a Ctrl-C never reaches it
                env=decoder_environment(),
            )
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
        """End the process at once; do not wait for one that hangs in the system, on a disk that does not answer."""
        self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=_SECONDS_TO_DIE)
        self.mail.close()
        self._stderr.close()

    def exit_reason(self) -> tuple[bool, str]:
        """Return whether the system killed a process that has closed its line, and how it ended, in words."""
        try:
            code = self._popen.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return False, "the decoder's process fell silent"
        words = self._last_words()
        # The process ignores SIGINT and SIGTERM, so this signal came from the kernel, out of memory.
        return code == -signal.SIGKILL, f"{ending(code)}{words and ': '}{words}"

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 2000))
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return _BY_CHANCE.sub("", lines[-1]) if lines else ""


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


def ending(code: int) -> str:
    """Return how a process ended, in words.

    Args:
        code: as `subprocess.Popen.wait` returns it.
    """
    if code >= 0:
        return f"the decoder's process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the decoder's process was ended by {name}"


def _anonymous_file(size: int) -> int:
    """Return a descriptor of shared memory without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
