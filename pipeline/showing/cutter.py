"""Cut the clips of one video in a process of its own, which a broken video may hang or crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.showing.cutting import copy_clip, exact_clip
from pipeline.showing.encoding import PictureSize
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import probe_any
from pipeline.video.helper import Helper, serve, signs_of_life
from pipeline.video.mail import Line, Message
from pipeline.video.metadata import Progress, VideoInfo

_PATIENCE_SECONDS = 120.0
_PROCESS = "pipeline.showing.cutter:main"


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
    with _helper() as helper:
        _ask(helper, path, frame_rate, ())
        message = helper.answer("probed")
        with helper.distrusted():
            return Probed(*map(Fraction, message.values))


def cut_video(path: Path, cuts: Sequence[Cut], frame_rate: Fraction | None = None) -> Iterator[Result]:
    """Cut the clips of a video, one after the other; yield what became of each.

    Args:
        frame_rate: pictures a second, if the path is a folder of numbered pictures.

    Raises:
        VideoError: the video cannot be read; or its process hung or died, and the clips that are left are not cut.
    """
    with _helper() as helper:
        _ask(helper, path, frame_rate, cuts)
        helper.answer("probed")
        for _ in cuts:
            message = helper.answer("done")
            with helper.distrusted():
                result = Result(**message.values[0])
            yield result


def _helper() -> Helper:
    return Helper(_PROCESS, patience_seconds=_PATIENCE_SECONDS)


def _ask(helper: Helper, path: Path, frame_rate: Fraction | None, cuts: Sequence[Cut]) -> None:
    rate = None if frame_rate is None else str(frame_rate)
    helper.ask("video", str(path), rate, [asdict(cut) for cut in cuts])


def main() -> None:
    """Run the process: probe a video and cut its clips."""
    serve(_answer)


def _answer(line: Line, message: Message) -> None:
    path, rate, cuts = message.values
    alive = signs_of_life(line)
    info = probe_any(Path(path), None if rate is None else Fraction(rate), progress=alive)
    line.send("probed", str(info.fps), str(info.duration))
    for cut in cuts:
        line.send("done", asdict(_cut(info, Cut(**cut), alive)))


def _cut(info: VideoInfo, cut: Cut, alive: Progress) -> Result:
    try:
        if cut.exact:
            picture = PictureSize(*cut.picture) if cut.picture else None
            clip = exact_clip(info, cut.start, cut.end, Path(cut.out), picture=picture, progress=alive)
        else:
            clip = copy_clip(info, cut.start, cut.end, Path(cut.out), progress=alive)
    except (VideoError, OSError) as error:
        return Result(failure=str(error))
    return Result(round(float(clip.start), 6), round(float(clip.end), 6), clip.suffix)
