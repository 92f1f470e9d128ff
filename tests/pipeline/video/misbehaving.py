"""Decoder processes that misbehave; a pool starts them in place of its own worker."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.video.mail import Line


def _message(text: bytes, ticks: bytes = b"") -> bytes:
    return struct.pack(">II", len(text), len(ticks)) + text + ticks


BABBLE = {
    "babble": b"\x00\x00\x00\x05hello world",
    "half": _message(b'["alive", 0]')[:-3],
    "rows": _message(b'["snippets", [[5, [0, 1, 2, 3]]], 0]'),
    "info": _message(b'["finished", {"path": "x"}, {}]', b"12345678"),
}


def misbehaving_worker() -> None:
    """Run a worker that treats each video as its name says."""
    from pipeline.video import worker

    real = worker.probe_any

    def probe(path: Path, rate: None, **settings):
        if path.stem == "hang":
            ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock, as decord does when it spins
        if path.stem == "crash":
            ctypes.string_at(0)
        if path.stem == "hog":
            hoard = []
            while True:
                hoard.append(np.ones(1 << 24, np.uint8))
        if path.stem == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if path.stem == "exit":
            sys.stderr.write(f"[h264 @ {id(path):#x}] the disk is on fire")
            sys.stderr.flush()
            os._exit(3)
        if path.stem in BABBLE:
            os.write(int(sys.argv[3]), BABBLE[path.stem])
            time.sleep(100)
        if path.stem == "drip":
            for byte in _message(b'["alive", 0]'):
                os.write(int(sys.argv[3]), bytes([byte]))
                time.sleep(0.5)
        return real(path, rate, **settings)

    worker.probe_any = probe
    worker.main()


def worker_that_does_not_start() -> None:
    sys.exit("no module named av")


def deaf_worker() -> None:
    """Run a worker that reports ready and then neither listens nor works."""
    line = Line(int(sys.argv[3]))
    line.receive()
    line.send("ready")
    time.sleep(1000)


def crashing_live() -> None:
    """Run a process that opens a live source and dies at its first picture."""
    line = Line(int(sys.argv[3]))
    line.receive()
    line.send("opened")
    ctypes.string_at(0)
