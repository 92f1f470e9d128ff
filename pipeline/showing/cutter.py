"""Cut the clips of one video in a process of its own, which a broken video may hang or crash."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from pipeline.video.errors import VideoError
from pipeline.video.limits import DecodeLimits

_LIMITS = DecodeLimits(timeout_seconds=120.0)
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.5
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pipeline.showing.cutter import main; main()"


@dataclass(frozen=True)
class Cut:
    """A clip to cut: `[start, end)` in seconds of the video's own clock, into the file `out`.

    Args:
        exact: encode the pictures again; else copy the streams.
        picture: with `exact`, height, width and rate that all pictures get; None: their own.
    """

    start: float
    end: float
    out: str
    exact: bool
    picture: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Result:
    """What became of a clip: the seconds that it really holds and its suffix, or why there is none."""

    start: float = 0.0
    end: float = 0.0
    suffix: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Probed:
    """Average frames per second and duration of a video, exactly."""

    fps: Fraction
    duration: Fraction


def probe_video(path: Path, frame_rate: Fraction | None = None) -> Probed:
    """Return the rate and the duration of a video.

    Args:
        frame_rate: pictures a second, if the path is a folder of numbered pictures.

    Raises:
        VideoError: it cannot be read.
    """
    with contextlib.closing(_answers(path, [], frame_rate)) as answers:
        first = next(answers)
    return Probed(Fraction(first["fps"]), Fraction(first["duration"]))


def cut_video(path: Path, cuts: Sequence[Cut], frame_rate: Fraction | None = None) -> Iterator[Result]:
    """Cut the clips of a video, one after the other; yield what became of each.

    Args:
        frame_rate: pictures a second, if the path is a folder of numbered pictures.

    Raises:
        VideoError: the video cannot be read; or its process hung or died, and the clips that are left are not cut.
    """
    with contextlib.closing(_answers(path, cuts, frame_rate)) as answers:
        next(answers)
        for answer in answers:
            yield Result(**answer)


def _answers(path: Path, cuts: Sequence[Cut], frame_rate: Fraction | None) -> Generator[dict[str, Any], None, None]:
    """Yield the answers of a process: about the video, then about each clip."""
    from pipeline.video.process import decoder_environment

    rate = None if frame_rate is None else str(frame_rate)
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # so that a Ctrl-C never reaches it
            env=decoder_environment(),
        )
        assert process.stdin and process.stdout, "they are pipes"
        try:
            with contextlib.suppress(BrokenPipeError):  # why it died is seen below
                process.stdin.write(json.dumps([str(path), rate, [asdict(cut) for cut in cuts]]).encode())
                process.stdin.close()
            for _ in range(len(cuts) + 1):
                yield _next_answer(process, stderr)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _next_answer(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(_LIMITS.timeout_seconds):
            # The process writes whole lines at once, so a line that has begun is there.
            line = process.stdout.readline()
            if not line:
                code = process.wait()
                stderr.seek(0)
                words = stderr.read()[-2000:].decode(errors="replace").strip().rpartition("\n")[2]
                raise VideoError("crashed", f"the process that cuts it ended with {code}{words and ': '}{words}")
            if line != b"\n":
                answer: dict[str, Any] = json.loads(line)
                if "kind" in answer:
                    raise VideoError(answer["kind"], answer["reason"])
                return answer
    raise VideoError("timeout", f"no progress for {_LIMITS.timeout_seconds:g} s")


def main() -> None:
    """Run the process that cuts: read the video and its clips from standard input, write an answer for each."""
    from pipeline.video.frame_folder import probe_any
    from pipeline.video.worker import die_with, limit_memory

    die_with(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    limit_memory(_LIMITS.memory_bytes)
    name, rate, cuts = json.loads(sys.stdin.read())
    last_sign = time.monotonic()

    def alive() -> None:
        nonlocal last_sign
        if time.monotonic() - last_sign > _SECONDS_BETWEEN_SIGNS_OF_LIFE:
            last_sign = time.monotonic()
            _say("")

    try:
        bounds = {"max_pixels": _LIMITS.max_pixels, "max_seconds": _LIMITS.max_seconds}
        info = probe_any(Path(name), None if rate is None else Fraction(rate), **bounds, progress=alive)
        _say(json.dumps({"fps": str(info.fps), "duration": str(info.duration)}))
        for cut in cuts:
            _say(json.dumps(asdict(_cut(info, Cut(**cut), alive))))
    except VideoError as error:
        _say(json.dumps({"kind": error.kind, "reason": error.reason}))
    except MemoryError:
        limit = _LIMITS.memory_bytes >> 20
        _say(json.dumps({"kind": "out_of_memory", "reason": f"the decoder asked for more than {limit} MiB"}))


def _cut(info: Any, cut: Cut, alive: Any) -> Result:
    from pipeline.showing.cutting import copy_clip, exact_clip
    from pipeline.showing.encoding import PictureSize

    try:
        if cut.exact:
            picture = PictureSize(*cut.picture) if cut.picture else None
            clip = exact_clip(info, cut.start, cut.end, Path(cut.out), picture=picture, progress=alive)
        else:
            clip = copy_clip(info, cut.start, cut.end, Path(cut.out), progress=alive)
    except (VideoError, OSError) as error:
        return Result(failure=str(error))
    return Result(round(float(clip.start), 6), round(float(clip.end), 6), clip.suffix)


def _say(line: str) -> None:
    sys.stdout.buffer.write(line.encode() + b"\n")
    sys.stdout.buffer.flush()
