"""Folders of numbered pictures are videos: found, probed and decoded like the video of the same pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.errors import VideoError
from pipeline.video.events import Failed, Finished, Snippets
from pipeline.video.find import find_videos
from pipeline.video.frame_folder import probe_frames
from pipeline.video.frame_names import pictures_of
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodePool
from tests.toys import TOY_SPEC
from tests.videos import picture_of, write_video

PLAN = SnippetPlan(fps=Fraction(10), window_frames=Fraction(8), stride_frames=Fraction(4), num_frames=4)


def noisy(index: int, height: int, width: int) -> np.ndarray:
    """A picture in color that any mix-up of frames, channels or rows changes."""
    noise = np.random.default_rng(index).integers(0, 20, (height, width, 3), dtype=np.uint8)
    return picture_of(index, height, width) + noise


def write_frames(
    folder: Path, count: int, *, name: str = "img_{:05d}.png", first: int = 1, size: tuple[int, int] = (48, 64)
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(noisy(index, *size)).save(folder / name.format(first + index))
    return folder


def events(*inputs: Path, **settings) -> dict[str, list]:
    found: dict[str, list] = {}
    with DecodePool(1, DecodeSettings(TOY_SPEC, PLAN)) as pool:
        for event in pool.decode(find_videos(inputs, **settings)):
            found.setdefault(event.video.id, []).append(event)
    return found


def frames_in(events: list) -> np.ndarray:
    assert isinstance(events[-1], Finished), events[-1]
    return np.concatenate([event.frames for event in events if isinstance(event, Snippets)])


def test_a_folder_gives_the_snippets_of_the_lossless_video_of_its_pictures(tmp_path):
    write_frames(tmp_path / "data" / "one", 40)
    video = write_video(
        tmp_path / "two.mov", range(40), Fraction(1, 25), size=(48, 64), codec="png", pixel_format="rgb24", draw=noisy
    )
    found = events(tmp_path / "data", video, frame_rate=25)
    assert frames_in(found["one"]).shape[0] == 4
    assert np.array_equal(frames_in(found["one"]), frames_in(found["two"]))
    report = found["one"][-1].report
    assert (report.duration, report.decoded_frames, report.corrupt_frames) == (Fraction(40, 25), 40, 0)


def test_the_facts_are_those_of_the_video(tmp_path):
    folder = write_frames(tmp_path / "f", 7)
    info = probe_frames(folder, Fraction(30000, 1001))
    assert (info.fps, info.num_frames, info.duration) == (Fraction(30000, 1001), 7, 7 * Fraction(1001, 30000))
    assert (info.width, info.height, info.codec, info.pixel_format) == (64, 48, "png", "rgb24")
    video = write_video(tmp_path / "v.mov", range(7), Fraction(1, 25), size=(48, 64), codec="png", pixel_format="rgb24")
    shared = ("width", "height", "codec", "pixel_format", "bits", "rotation", "num_frames", "constant_rate")
    assert [getattr(info, name) for name in shared] == [getattr(probe(video), name) for name in shared]


@pytest.mark.parametrize("name", ["img_{:05d}.png", "{}.png", "frame-{:06d}.PNG", "v1 {:03d}.png"])
def test_pictures_follow_their_numbers_with_or_without_leading_zeros(tmp_path, name):
    folder = write_frames(tmp_path, 12, name=name, first=0)
    assert [path.name for path in pictures_of(folder)] == [name.format(number) for number in range(12)]


def test_pictures_of_flow_beside_the_frames_are_left_out(tmp_path):
    folder = write_frames(tmp_path, 3)
    for name in ("flow_x_{:05d}.png", "flow_y_{:05d}.png", "x_{:05d}.png", "y_{:05d}.png"):
        write_frames(folder, 2, name=name)
    assert [path.name for path in pictures_of(folder)] == [f"img_0000{number}.png" for number in (1, 2, 3)]


def test_a_gap_a_double_number_and_two_sequences_are_refused_by_name(tmp_path):
    gap = write_frames(tmp_path / "gap", 5)
    (gap / "img_00003.png").unlink()
    double = write_frames(tmp_path / "double", 3)
    write_frames(double, 1, name="img_{}.png", first=2)
    two = write_frames(tmp_path / "two", 2)
    write_frames(two, 2, name="depth_{}.png")
    for folder, words in (
        (gap, "no picture between img_00002.png and img_00004.png; extract the frames again"),
        (double, "have one number; remove one of them"),
        (two, r"pictures of several sequences \(depth_\*, img_\*\)"),
    ):
        with pytest.raises(VideoError, match=words) as caught:
            pictures_of(folder)
        assert caught.value.kind == "unreadable"


def test_a_bad_picture_costs_its_video_alone_and_is_named(tmp_path):
    write_frames(tmp_path / "good", 20)
    cut = write_frames(tmp_path / "cut", 20) / "img_00005.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (write_frames(tmp_path / "empty", 20) / "img_00006.png").write_bytes(b"")
    write_frames(write_frames(tmp_path / "size", 20), 1, first=7, size=(20, 20))
    found = {name: many[-1] for name, many in events(tmp_path, frame_rate=25).items()}
    assert isinstance(found.pop("good"), Finished)
    assert {name: (end.kind, isinstance(end, Failed)) for name, end in found.items()} == dict.fromkeys(
        ("cut", "empty", "size"), ("decode_error", True)
    )
    assert found["cut"].reason.startswith("img_00005.png cannot be decoded: ")
    assert found["empty"].reason == "img_00006.png cannot be decoded: no picture in it"
    assert found["size"].reason == "img_00007.png is 20x20 pixels, the first picture 64x48"


def test_a_data_set_of_frame_folders_is_found_below_its_classes(tmp_path):
    for name in ("rawframes/jump/v_1.a", "rawframes/run/v_2"):
        write_frames(tmp_path / name, 2)
    root = tmp_path / "rawframes"
    (tmp_path / "list.txt").write_text("rawframes/run/v_2\n")
    found = find_videos([root], frame_rate=25)
    assert [(video.id, video.frame_rate) for video in found] == [("v_1.a", 25), ("v_2", 25)]
    assert [video.id for video in find_videos([root], ids="path", frame_rate=25)] == ["jump/v_1.a", "run/v_2"]
    assert [video.id for video in find_videos([root / "run" / "v_2"], ids="path", frame_rate=25)] == ["v_2"]
    assert [video.id for video in find_videos([tmp_path / "list.txt"], frame_rate=25)] == ["v_2"]


def test_without_a_rate_the_error_names_the_folder_and_the_option(tmp_path):
    folder = write_frames(tmp_path / "run" / "v_2", 2)
    with pytest.raises(PipelineError, match=f"but {folder} holds numbered pictures; add --frame-rate N"):
        find_videos([tmp_path])


def test_pictures_beside_videos_are_no_frame_folder(tmp_path):
    write_frames(tmp_path, 2)
    (tmp_path / "v.mp4").write_bytes(b"")
    assert [(video.id, video.frame_rate) for video in find_videos([tmp_path], frame_rate=25)] == [("v", None)]
