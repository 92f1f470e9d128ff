"""Run the parts one after the other, each in a process that can be killed."""

import argparse
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpu_parts import packing
from gpu_parts.parts import PARTS, Part
from gpu_parts.rows import FILE, Rows, as_line, read_rows, write_table

LEAST_SECONDS = 10  # no part gives a result in less


def run_all(options: argparse.Namespace, *, script: Path) -> int:
    """Run the parts that `options` name, and return the exit code: 1 if a row failed."""
    started = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / FILE).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running part is killed too
    environment, videos = dict(os.environ), options.videos
    with tempfile.TemporaryDirectory() as work, (options.out / "log.txt").open("wb") as log:
        if options.packed:
            site, done = Path(work) / "site", time.monotonic()
            packing.install(options.packed, site)
            environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
            print(f"installed in {time.monotonic() - done:.0f} s", flush=True)
            videos = videos or options.packed / packing.VIDEOS
        environment["GPU_BENCH_WORK"] = work
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as on the command line: decoders need the cores
        command = [sys.executable, str(script), "--device", options.device, "--out", str(options.out.resolve())]
        command += ["--quick"] * options.quick + (["--videos", str(videos.resolve())] if videos else [])
        for part in PARTS:
            if options.only and part.name not in options.only:
                continue
            if options.quick and not part.quick:
                continue
            left = options.seconds - (time.monotonic() - started)
            _run_part(part, [*command, "--part", part.name], environment, log, options, left)
    rows = read_rows(options.out)
    failed = sum("failed" in row for row in rows)
    print(f"{len(rows)} rows, {failed} failed, {time.monotonic() - started:.0f} s; {options.out}/results.md")
    return int(failed > 0)


def _run_part(
    part: Part,
    command: list[str],
    environment: dict[str, str],
    log: IO[bytes],
    options: argparse.Namespace,
    seconds_left: float,
) -> None:
    """Run one part, and write a row if it fails, exceeds its time limit or writes no row."""
    rows, before = Rows(options.out, part.name), len(read_rows(options.out))
    limit = min(part.quick_seconds if options.quick else part.seconds, seconds_left)
    started, used = time.monotonic(), _processor_seconds()
    if limit < LEAST_SECONDS:
        rows.failed("all", "no time was left; give more --seconds, or --only this part")
    else:
        log.write(f"\n===== {part.name}, at most {limit:.0f} s\n".encode())
        log.flush()
        begin = log.tell()
        with _process(command, environment, log) as process:
            try:
                code = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                rows.failed("the rest", f"not done after {limit:.0f} s")
                code = 0
        if code:
            rows.failed("the rest", f"exit code {code}: {_last_line(Path(log.name), begin)}")
        elif len(read_rows(options.out)) == before:
            rows.failed("all", "the part said nothing")
    rows.add("took", seconds=time.monotonic() - started, processor_seconds=_processor_seconds() - used)
    write_table(options.out)
    for row in read_rows(options.out)[before:]:
        print(as_line(row), flush=True)


def _processor_seconds() -> float:
    """Return the time that processors spent on parts: beside other work it says more than the time that passed."""
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and kill its whole group afterwards."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no word"
