"""Synthetic videos: the tests read the ground truth from the pixels, which depend on the drawing alone."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.synthetic import make_synthetic_dataset
from pipeline.synthetic.dataset import draw_frames
from pipeline.synthetic.drawing import background
from pipeline.synthetic.plan import SyntheticSettings, plan_videos

SMALL = {"videos": 3, "seed": 3, "seconds": 6.0, "height": 64, "width": 96}
# The look of each action: which of R, G, B are strong in its brightest parts.
STRONG_CHANNELS = {
    "rotating bar": (True, False, False),
    "expanding ring": (False, True, True),
    "bouncing square": (False, True, False),
    "drifting stripes": (True, False, True),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_synthetic_dataset(folder, SyntheticSettings(**SMALL))
    return folder


def database_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "annotations.json").read_text())["database"]


def pictures_of(path: Path) -> tuple[np.ndarray, list[Fraction]]:
    with av.open(str(path)) as container:
        assert not container.streams.audio
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [f.pts * f.time_base for f in frames]


def colorful_pixels(pictures: np.ndarray) -> np.ndarray:
    return np.ptp(pictures.astype(int), axis=-1) > 120


@pytest.mark.parametrize("settings", [SMALL, {**SMALL, "videos": 2, "fps": "24000/1001"}])
def test_the_frames_that_show_an_action_are_exactly_the_annotated_ones(tmp_path: Path, settings: dict) -> None:
    make_synthetic_dataset(tmp_path, SyntheticSettings(**settings))
    database = database_of(tmp_path)
    assert len(database) == settings["videos"]
    for video_id, entry in database.items():
        pictures, times = pictures_of(tmp_path / f"{video_id}.mp4")
        assert len(pictures) == entry["frame"]
        assert entry["duration"] == pytest.approx(entry["frame"] / entry["fps"])
        annotated = np.zeros(len(pictures), dtype=bool)
        for annotation in entry["annotations"]:
            start, end = annotation["segment"]
            # Boundaries lie on frames; half a frame of slack makes the comparison safe from rounding.
            annotated |= [start - 0.5 / entry["fps"] < time < end - 0.5 / entry["fps"] for time in times]
        shown = colorful_pixels(pictures).mean(axis=(1, 2)) > 0.01
        np.testing.assert_array_equal(shown, annotated)
        assert 0 < annotated.sum() < len(annotated)


def test_each_action_has_the_color_of_its_label_and_moves(dataset: Path) -> None:
    for video_id, entry in database_of(dataset).items():
        pictures, _ = pictures_of(dataset / f"{video_id}.mp4")
        for annotation in entry["annotations"]:
            first, end = (round(seconds * entry["fps"]) for seconds in annotation["segment"])
            masks = colorful_pixels(pictures[first:end])
            color = pictures[first:end][masks].mean(axis=0)
            assert tuple(color > 150) == STRONG_CHANNELS[annotation["label"]], (annotation, color)
            assert (masks[0] != masks[10]).mean() > 0.02


def test_faint_actions_let_the_background_through() -> None:
    clear, faint = (SyntheticSettings(**SMALL, visibility=visibility) for visibility in (1.0, 0.25))
    (plan, *_), (same, *_) = plan_videos(clear), plan_videos(faint)
    assert plan == same
    behind_at = background(np.random.default_rng([SMALL["seed"], 0, 1]), SMALL["height"], SMALL["width"])
    shown, mixed = (np.stack(list(draw_frames(plan, settings))).astype(float) for settings in (clear, faint))
    behind = np.stack([behind_at(number / 30) for number in range(plan.frames)]).astype(float)
    assert (shown != behind).any()
    np.testing.assert_allclose(mixed, 0.75 * behind + 0.25 * shown, atol=0.5)


def test_a_folder_made_before_visibility_was_a_choice_is_completed(tmp_path: Path) -> None:
    make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    settings = json.loads((tmp_path / "synthetic.json").read_text())
    del settings["visibility"]
    (tmp_path / "synthetic.json").write_text(json.dumps(settings))
    make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    with pytest.raises(PipelineError, match=r"other settings \(visibility\)"):
        make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL, visibility=0.5))
    with pytest.raises(PipelineError, match="visibility of synthetic actions must be > 0 and <= 1, got 0"):
        make_synthetic_dataset(tmp_path / "new", SyntheticSettings(**SMALL, visibility=0))


def test_the_background_moves(dataset: Path) -> None:
    video_id = next(iter(database_of(dataset)))
    pictures, _ = pictures_of(dataset / f"{video_id}.mp4")
    assert np.abs(pictures[0].astype(int) - pictures[20]).mean() > 2


def test_a_default_plan_keeps_its_promises() -> None:
    plans = plan_videos(SyntheticSettings())
    assert [plan.subset for plan in plans] == ["training"] * 10 + ["validation"] * 6
    assert len({plan.id for plan in plans}) == 16
    for plan in plans:
        assert 20 * 30 <= plan.frames <= 30 * 30
        assert len(plan.actions) >= 2
        edges = [0, *(edge for action in plan.actions for edge in (action.first_frame, action.end_frame)), plan.frames]
        lengths = np.diff(edges)
        assert (lengths[0::2] >= 30).all(), "background before, between and after actions lasts a second or more"
        assert ((lengths[1::2] >= 60) & (lengths[1::2] <= 240)).all(), "actions last 2 to 8 seconds"
    for subset in ("training", "validation"):
        labels = {action.label for plan in plans if plan.subset == subset for action in plan.actions}
        assert labels == set(STRONG_CHANNELS)


@pytest.mark.parametrize("videos", [2, 3, 5, 16])
def test_validation_shows_no_class_that_training_lacks(videos: int) -> None:
    for seed in range(20):
        plans = plan_videos(SyntheticSettings(videos=videos, seed=seed, seconds=6))
        seen = {subset: {a.label for p in plans if p.subset == subset for a in p.actions} for subset in
                ("training", "validation")}  # fmt: skip
        assert seen["validation"] <= seen["training"]


def test_a_seed_gives_the_same_videos_and_another_seed_others(dataset: Path, tmp_path: Path) -> None:
    make_synthetic_dataset(tmp_path / "same", SyntheticSettings(**SMALL))
    make_synthetic_dataset(tmp_path / "other", SyntheticSettings(**{**SMALL, "seed": 4}))
    names = sorted(path.name for path in dataset.iterdir())
    assert names == ["annotations.json", "synthetic.json", *(f"synthetic_{i:04d}.mp4" for i in range(3))]
    for name in names:
        content = (dataset / name).read_bytes()
        assert (tmp_path / "same" / name).read_bytes() == content
        assert (tmp_path / "other" / name).read_bytes() != content


def test_a_complete_set_is_kept_and_a_missing_video_is_made_again(tmp_path: Path) -> None:
    annotations = make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    assert annotations == tmp_path / "annotations.json"
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == {n: b[0] for n, b in before.items()}

    lost = tmp_path / "synthetic_0001.mp4"
    lost.unlink()
    annotations.unlink()
    make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {n: b[1] for n, b in before.items()}
    assert (tmp_path / "synthetic_0000.mp4").stat().st_mtime_ns == before["synthetic_0000.mp4"][0]


def test_a_folder_with_other_content_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"other settings \(seed\).*another folder"):
        make_synthetic_dataset(dataset, SyntheticSettings(**{**SMALL, "seed": 9}))
    (tmp_path / "mine.mp4").write_bytes(b"precious")
    with pytest.raises(PipelineError, match="holds videos already"):
        make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.mp4"]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("videos", 1, ">= 2"),
        ("seconds", 5.9, ">= 6"),
        ("seconds", float("nan"), ">= 6"),
        ("seed", -1, ">= 0"),
        ("height", 65, "even"),
        ("width", 32, ">= 64"),
        ("fps", 0, "5 to 240"),
    ],
)
def test_a_bad_setting_is_named_and_nothing_is_made(tmp_path: Path, name: str, value: float, accepted: str) -> None:
    with pytest.raises(PipelineError, match=f"^{name} .*{accepted}.*got"):
        make_synthetic_dataset(tmp_path / "new", SyntheticSettings(**{**SMALL, name: value}))
    assert not (tmp_path / "new").exists()


def test_an_interrupted_video_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pipeline.synthetic.dataset.draw_frames", fail)
    with pytest.raises(OSError, match="no space"):
        make_synthetic_dataset(tmp_path, SyntheticSettings(**SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic.json"]


def test_without_x264_the_videos_are_made_with_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    make_synthetic_dataset(tmp_path, SyntheticSettings(**{**SMALL, "videos": 2}))
    video_id, entry = next(iter(database_of(tmp_path).items()))
    with av.open(str(tmp_path / f"{video_id}.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == entry["frame"]
