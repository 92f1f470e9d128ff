"""Stitched videos: every frame is the one that the plan names, the annotations are exact, groups stay apart."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import read_annotations
from pipeline.errors import PipelineError
from pipeline.pretraining.clips import Clip, Whole, clip_frames, count_frames, find_clips, split_by_group
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.stages.pretrain import pretrain
from pipeline.stages.stitch import stitch, stitched_frames
from pipeline.synthetic.stitch_plan import Piece, StitchedVideo, annotations_of, plan_videos
from tests import videos as make

LEVELS = {"still": 30, "jump": 110, "run": 200}
SMALL = StitchConfig(videos=6, seconds=4, fps=10, height=32, width=48, gap_seconds=(0.5, 1.2), actions=("jump", "run"))


def gray_clip(path: Path, level: int, frames: int, fps: int = 10) -> Path:
    return make.constant(
        path, frames, fps, draw=lambda index, height, width: np.full((height, width, 3), level, np.uint8)
    )


@pytest.fixture
def clips(tmp_path) -> Path:
    for label, level in LEVELS.items():
        for group in range(8, 12):
            gray_clip(tmp_path / "clips" / label / f"v_{label}_g{group:02}_c01.mp4", level, 9 + group)
    return tmp_path / "clips"


def test_a_clip_on_another_grid_shows_the_frames_that_a_player_shows(tmp_path):
    path = make.constant(tmp_path / "clip.mp4", 20, 10, size=(64, 96))
    frames = clip_frames(path, fps=5, size=Whole(64, 64))
    assert frames.shape == (10, 64, 64, 3)
    assert len(frames) == count_frames(path, fps=5)
    assert [make.index_of(frame) for frame in frames] == [2 * n + 1 for n in range(10)]  # at (n + 1/2) / 5 s
    doubled = clip_frames(path, fps=20, size=Whole(64, 64))
    assert [make.index_of(frame) for frame in doubled] == [n // 2 for n in range(40)]


def test_clips_cover_the_size_and_are_cut_around_their_center(tmp_path):
    def halves(index: int, height: int, width: int) -> np.ndarray:
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, width // 4 : 3 * width // 4] = 235  # a white middle, black quarters at the sides
        return picture

    path = make.constant(tmp_path / "clip.mp4", 3, 10, size=(48, 96), draw=halves)
    frames = clip_frames(path, fps=10, size=Whole(48, 48))
    assert frames.shape[1:] == (48, 48, 3)
    assert frames[:, :, 3:-3].min() > 200


def test_groups_are_found_in_names_and_never_on_both_sides(clips):
    found = find_clips(clips, group_pattern=r"_(g\d+)_")
    assert len(found) == 12
    assert {clip.group for clip in found} == {"g08", "g09", "g10", "g11"}
    for seed in range(5):
        training, validation = split_by_group(found, share=0.3, seed=seed)
        assert not {c.group for c in training} & {c.group for c in validation}
        assert len(validation) == 6  # two groups of three clips: the first share that reaches 0.3 of 12
        assert {c.label for c in validation} == set(LEVELS)
    with pytest.raises(PipelineError, match="are not on both sides of the split"):
        split_by_group([Clip(c.path, c.label, c.label) for c in found], share=0.3, seed=0)


def test_clips_come_from_a_csv_file_too(clips, tmp_path):
    rows = ["path,label,group", "clips/jump/v_jump_g08_c01.mp4,hop,one", "clips/run/v_run_g09_c01.mp4,run,"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    found = find_clips(tmp_path / "clips.csv", group_pattern=r"_(g\d+)_")
    assert [(c.label, c.group) for c in found] == [("hop", "one"), ("run", "g09")]
    (tmp_path / "clips.csv").write_text("path,label\nnone.mp4,jump\n")
    with pytest.raises(PipelineError, match="line 2: no file"):
        find_clips(tmp_path / "clips.csv", group_pattern=r"_(g\d+)_")


def test_segments_by_hand_with_hard_cuts_and_with_fades():
    pieces = (Piece(Path("a"), 0, 10, None), Piece(Path("b"), 0, 20, "jump"), Piece(Path("c"), 0, 8, None))
    cut = StitchedVideo("v", 0, "training", pieces, 0)
    assert (cut.frames, list(cut.segments())) == (38, [(10, 30, "jump")])
    faded = StitchedVideo("v", 0, "training", pieces, 3)
    # The second begins at frame 7, in whose fade 7, 8, 9 it has 1/4, 1/2, 3/4; the third begins at 24.
    assert (faded.frames, list(faded.segments())) == (32, [(8, 25, "jump")])
    truth = annotations_of([faded], fps=Fraction(10))
    assert truth.labels == ("jump",)
    assert [(s.segment, s.label) for s in truth.videos["v"].segments] == [((0.8, 2.5), "jump")]
    assert (truth.videos["v"].duration, truth.videos["v"].frames) == (3.2, 32)


@pytest.mark.parametrize("fade", [0, 2, 3])
def test_every_frame_shows_what_the_annotations_say(clips, tmp_path, fade):
    config = StitchConfig(**{**SMALL.__dict__, "fade_frames": fade})
    summary = stitch(clips, tmp_path / "out", config)
    truth = read_annotations(summary.annotations)
    assert summary.made == len(truth.videos) == 6
    for video_id, video in truth.videos.items():
        path = tmp_path / "out" / f"{video_id}.mp4"
        levels = clip_frames(path, fps=10, size=Whole(32, 48)).mean(axis=(1, 2, 3))
        assert len(levels) == round(video.duration * 10)
        told = np.full(len(levels), LEVELS["still"])
        for segment in video.segments:
            first, end = (round(10 * moment) for moment in segment.segment)
            told[first:end] = LEVELS[segment.label]
        if fade == 0:
            assert np.abs(levels - told).max() < 12
        else:
            # In a fade the picture is nearer to the clip that the annotations name, or just half-way.
            names = np.array(list(LEVELS.values()))
            wrong = np.abs(levels - told) > 12
            assert wrong.sum() <= 2 * fade * len(video.segments)
            near = np.abs(levels[:, None] - names[None]).min(axis=1)
            assert (near[~wrong] < 12).all()


def test_every_class_comes_in_both_subsets_and_groups_stay_apart(clips, tmp_path):
    stitch(clips, tmp_path / "out", SMALL)
    truth = read_annotations(tmp_path / "out" / "annotations.json")
    assert truth.subsets() == {"training": 4, "validation": 2}
    for subset in ("training", "validation"):
        videos = truth.in_subset(subset).videos.values()
        assert {s.label for video in videos for s in video.segments} == {"jump", "run"}
    found = find_clips(clips, group_pattern=r"_(g\d+)_")
    split = dict(zip(("training", "validation"), split_by_group(found, share=0.3, seed=0), strict=True))
    groups = {clip.path: clip.group for clip in found}
    plans = plan_videos(split, {clip.path: count_frames(clip.path, fps=10) for clip in found}, SMALL)
    seen = {s: {groups[p.path] for plan in plans if plan.subset == s for p in plan.pieces} for s in split}
    assert not seen["training"] & seen["validation"]


def test_the_clips_of_validation_videos_are_none_that_an_encoder_was_trained_on(clips, tmp_path, monkeypatch):
    # Many of the clips cannot be read: they must not move the split of the others.
    for group in range(12, 18):
        (clips / "jump" / f"v_jump_g{group:02}_c01.mp4").write_text("no video")
        for label in ("still", "run"):
            gray_clip(clips / label / f"v_{label}_g{group:02}_c01.mp4", LEVELS[label], 20)
    sides: list[list[Clip]] = []  # to learn from, then held out
    noted = lambda clips, *_: sides.append(clips) or ([], {"x": "enough"})  # noqa: E731
    monkeypatch.setattr("pipeline.pretraining.classify.cache_clips", noted)
    shown: dict[str, set[Path]] = {"training": set(), "validation": set()}

    def noted(split, lengths, config):
        plans = plan_videos(split, lengths, config)
        for plan in plans:
            shown[plan.subset] |= {piece.path for piece in plan.pieces}
        return plans

    monkeypatch.setattr("pipeline.stages.stitch.plan_videos", noted)
    for seed in range(3):
        for seen in (sides, *shown.values()):
            seen.clear()
        stitch(clips, tmp_path / f"out{seed}", StitchConfig(**{**SMALL.__dict__, "seed": seed}))
        with pytest.raises(PipelineError, match="enough"):
            pretrain(clips, tmp_path / "w.safetensors", PretrainConfig(seed=seed, size=32, device="cpu"))
        learned, held_out = ({clip.group for clip in side} for side in sides)
        groups = {clip.path: clip.group for side in sides for clip in side}
        assert {groups[path] for path in shown["validation"]} <= held_out
        assert {groups[path] for path in shown["training"]} <= learned


def test_background_may_be_still_shuffled_or_reversed_footage_of_the_same_classes(tmp_path):
    path = make.constant(tmp_path / "clip.mp4", 12, 10)
    config = StitchConfig(fps=10, height=64, width=64)

    def shown(footage: str) -> list[int]:
        plan = StitchedVideo("v", 0, "training", (Piece(path, 2, 8, None, footage),), 0)
        return [make.index_of(frame) for frame in stitched_frames(plan, config)]

    assert shown("as it is") == list(range(2, 10))
    assert shown("reversed") == list(range(9, 1, -1))
    assert shown("still") == [2] * 8
    assert sorted(shown("shuffled")) == list(range(2, 10)) != shown("shuffled")


def test_an_interrupted_job_goes_on_and_other_settings_are_refused(clips, tmp_path):
    out = tmp_path / "out"
    stitch(clips, out, SMALL)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "stitched_0002.mp4").unlink()
    (out / "annotations.json").unlink()
    assert stitch(clips, out, SMALL).made == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(PipelineError, match="from other clips or settings; choose another --out"):
        stitch(clips, out, StitchConfig(**{**SMALL.__dict__, "seed": 1}))


def test_a_bad_clip_costs_only_itself(clips, tmp_path):
    (clips / "jump" / "v_jump_g08_c02.mp4").write_text("no video")
    summary = stitch(clips, tmp_path / "out", SMALL)
    assert summary.made == 6
    assert [Path(name).name for name in summary.failed] == ["v_jump_g08_c02.mp4"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions": ("fly",)}, "classes must be among jump, run, still, got 'fly'"),
        ({"actions": ()}, "needs classes that are no actions"),
        ({"actions": ("jump", "run", "still")}, "all classes are actions"),
        ({"background_classes": ("jump",)}, "got both of"),
        ({"fade_frames": 10}, "fade_frames must be less than half of every clip"),
        ({"group_pattern": "("}, "group_pattern must be a regular expression"),
        ({"group_pattern": "g"}, "must have a group in parentheses"),
        ({"validation_share": 1.0}, "validation_share must be"),
    ],
)
def test_bad_settings_are_refused(clips, tmp_path, changes, words):
    with pytest.raises(PipelineError, match=words):
        stitch(clips, tmp_path / "out", StitchConfig(**{**SMALL.__dict__, **changes}))
    assert not (tmp_path / "out").exists()


def test_without_clips_procedural_videos_are_drawn(tmp_path):
    config = StitchConfig(videos=2, seconds=6, fps=10, height=64, width=64)
    summary = stitch(None, tmp_path / "out", config)
    assert summary.made == 2
    assert json.loads(summary.annotations.read_text())["version"].startswith("synthetic")
