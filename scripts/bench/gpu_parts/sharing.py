"""Two processes on one card: the rates of each and of both together, compared with one alone."""

import argparse
import subprocess
import sys
import time

import torch

from encoders.encoder import load_encoder
from gpu_parts.rows import Rows

CHILD = (
    "import sys; sys.path[:0] = {path!r}; from gpu_parts.sharing import child; child({device!r}, {batch}, {seconds})"
)


def run(options: argparse.Namespace, rows: Rows) -> None:
    batch, seconds = (1, 1.0) if options.quick else (0, 5.0)
    code = CHILD.format(path=sys.path, device=options.device, batch=batch, seconds=seconds)
    alone = _rates(code, 1)
    both = _rates(code, 2)
    rows.add("one process", snippets_a_second=alone[0])
    rows.add(
        "two processes",
        snippets_a_second=sum(both),
        times_one=sum(both) / alone[0],
        each=f"{both[0]:.4g}, {both[1]:.4g}",
    )


def _rates(code: str, count: int) -> list[float]:
    """Return snippets a second of each of `count` processes that start at the same time."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("a process did not get ready; see the log")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in processes]


def child(device: str, batch: int, seconds: float) -> None:
    """Wait for a line on standard input, encode for some seconds, and print the snippets a second."""
    encoder = load_encoder("i3d_r50", weights="random", device=device, batch_size=batch or None)
    snippets = torch.zeros((encoder.batch_size, *encoder.spec.snippet_shape), dtype=torch.uint8)
    encoder.encode(snippets)
    print("ready", flush=True)
    sys.stdin.readline()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        encoder.encode(snippets)
        done += len(snippets)
    print(done / (time.perf_counter() - began), flush=True)
