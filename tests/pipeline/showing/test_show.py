"""`show` writes what was asked for, keeps what is finished, and touches nothing that it did not write."""

import csv
import json
from pathlib import Path

import av
import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.pretraining.clips import find_clips
from pipeline.showing.config import ShowConfig
from pipeline.showing.listing import Listing, choose
from tests.videos import constant, index_of

FOUND = {
    "a": [Detection((1.2, 2.0), "run/../x", 0.9), Detection((0.5, 1.5), "jump", 0.8), Detection((3, 9), "jump", 0.1)],
    "b": [Detection((2.0, 2.4), "jump", 0.95)],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in FOUND:
        constant(tmp_path / "videos" / f"{name}.mp4", 100, 25)
    write_detections(tmp_path / "found.json", FOUND)
    return tmp_path


@pytest.fixture
def show(data, command):
    def run(form: str, *more: object, file: str = "found.json", videos: bool = True) -> tuple[int, str, str]:
        given = ["--videos", data / "videos"] if videos else []
        return command("show", data / file, "--as", form, *given, *more)

    return run


def first_frame(clip: Path) -> int:
    with av.open(str(clip)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return index_of(picture)


def files_in(folder: Path) -> dict[str, int]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".show.jsonl")
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in paths}


def test_clips_of_every_segment_are_cut_and_kept(show, data):
    code, out, err = show("clips")
    folder = data / "found-clips"
    jump = {"jump/a_0.500-1.500.mp4", "jump/a_3.000-9.000.mp4", "jump/b_2.000-2.400.mp4"}
    first = files_in(folder)
    assert (code, out) == (0, f"{folder}: 4 segments of 2 videos; 5 files written\n")
    assert first.keys() == {*jump, "run%2F..%2Fx/a_1.200-2.000.mp4", "clips.csv"}  # a label names no other folder
    assert "up to 0.2 s before the action" in err
    with (folder / "clips.csv").open() as table:
        rows = {row["path"]: row for row in csv.DictReader(table)}
    run = rows["run%2F..%2Fx/a_1.200-2.000.mp4"]
    assert (run["label"], run["group"], run["start"], run["end"]) == ("run/../x", "a", "1.2", "2.0")
    assert float(run["cut_start"]) == 0.96
    assert first_frame(folder / run["path"]) == 24
    assert show("clips")[:2] == (0, f"{folder}: 4 segments of 2 videos; 0 files written, 5 were there already\n")
    assert files_in(folder) == first
    code, out, _ = show("clips", "--cut", "exact")
    assert out.endswith("5 files written (5 in place of older ones)\n")
    assert first_frame(folder / run["path"]) == 30


def test_clips_are_what_pretrain_takes(show, data):
    show("clips", "--out", data / "clips")
    found = find_clips(data / "clips" / "clips.csv", group_pattern="(x)")
    assert {(clip.label, clip.group) for clip in found} == {("jump", "a"), ("jump", "b"), ("run/../x", "a")}
    assert len(find_clips(data / "clips", group_pattern="(x)")) == 4


def test_a_clip_that_is_gone_or_of_a_changed_video_is_cut_again(show, data):
    show("clips")
    (data / "found-clips" / "jump" / "a_0.500-1.500.mp4").unlink()
    assert "; 1 file written, 4 were there already" in show("clips")[1]
    constant(data / "videos" / "b.mp4", 90, 25)
    assert "; 1 file written (1 in place of older ones), 4 were there already" in show("clips")[1]


def test_a_bad_video_costs_only_itself(show, data):
    (data / "videos" / "a.mp4").write_bytes(b"no video")
    for form, name in (("clips", "jump/b_2.000-2.400.mp4"), ("montage", "jump.mp4"), ("otio", "b.otio")):
        code, _, err = show(form)
        assert (code, "failed: a: unreadable" in err) == (1, True)
        assert (data / f"found-{form}" / name).is_file()


def test_a_file_of_others_is_not_replaced(show, data):
    mine = data / "videos" / "a.srt"
    mine.write_text("mine")
    code, _, err = show("srt", "--out", data / "videos")
    assert (code, mine.read_text()) == (1, "mine")
    assert f"failed: a: {mine} exists, and `show` did not write it" in err
    assert "jump 0.95" in (data / "videos" / "b.srt").read_text()
    (data / "videos" / "b.srt").write_text("corrected by hand")
    assert show("srt", "--out", data / "videos", "--min-score", 0.5)[0] == 1
    assert (data / "videos" / "b.srt").read_text() == "corrected by hand"
    (data / "found.csv").write_text("mine")
    assert show("csv")[0] == 2
    assert (data / "found.csv").read_text() == "mine"


def test_another_choice_replaces_what_show_wrote_and_says_so(show, data):
    assert show("srt")[1].endswith("2 files written\n")
    assert show("srt")[1].endswith("0 files written, 2 were there already\n")
    assert show("srt", "--min-score", 0.5)[1].endswith(
        "1 file written (1 in place of older ones), 1 was there already\n"
    )
    assert not [path for path in data.rglob("*") if path.name.endswith(".partial")]


def test_a_montage_joins_the_best_clips_of_a_label(show, data):
    code, _, _ = show("montage")
    folder = data / "found-montage"
    assert (code, files_in(folder).keys()) == (
        0,
        {"jump.mp4", "jump.srt", "run%2F..%2Fx.mp4", "run%2F..%2Fx.srt"},
    )
    with av.open(str(folder / "jump.mp4")) as video:
        frames = [(f.to_ndarray(format="rgb24")[:, 140:500], float(f.time)) for f in video.decode(video=0)]
    # b from 2.0 to 2.4 s, then a from 0.5 to 1.5 s (the frame on the screen at 0.5 s is 12), then a from 3 s to its end
    expected = [*range(50, 60), *range(12, 38), *range(75, 100)]
    assert [index_of(picture) for picture, _ in frames] == expected
    assert [time for _, time in frames] == pytest.approx([k / 25 for k in range(len(expected))])
    assert (
        "00:00:00,000 --> 00:00:00,400\nb, 00:00:02.000 to 00:00:02.400, score 0.95"
        in (folder / "jump.srt").read_text()
    )
    before = files_in(folder)
    assert show("montage")[:2] == (0, f"{folder}: 4 segments of 2 videos; 0 files written, 2 were there already\n")
    assert files_in(folder) == before


def test_ground_truth_shows_too(show, data):
    truth = {"a": {"duration": 4, "annotations": [{"segment": [1, 2], "label": "jump"}]}, "gone": {"annotations": []}}
    (data / "truth.json").write_text(json.dumps({"version": "1", "database": truth}))
    code, _, err = show("chapters", file="truth.json")
    assert (code, err) == (0, "note: left out: 1 video of the file that --videos does not have (such as gone)\n")
    assert "START=2000\nEND=4000\n" in (data / "truth-chapters" / "a.ffmetadata").read_text()
    show("chapters", file="truth.json", videos=False)
    assert (data / "truth-chapters" / "gone.ffmetadata").read_text() == ";FFMETADATA1\n"
    assert "min-score must not be given for ground truth" in show("csv", "--min-score", 0.5, file="truth.json")[2]


def test_ids_that_are_paths_are_found(show, data):
    write_detections(data / "paths.json", {"deep/a": FOUND["a"]})
    (data / "videos" / "deep").mkdir()
    (data / "videos" / "a.mp4").rename(data / "videos" / "deep" / "a.mp4")
    assert show("otio", file="paths.json")[0] == 0
    timeline = json.loads((data / "paths-otio" / "deep%2Fa.otio").read_text())
    reference = timeline["tracks"]["children"][0]["children"][0]["media_reference"]
    assert reference["target_url"] == (data / "videos" / "deep" / "a.mp4").as_uri()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "clips"], "--as clips needs the videos; say where they are with --videos FOLDER"),
        (["--as", "csv", "--out", "{}/d.txt"], "--out must end in .csv, got {}/d.txt"),
        (["--as", "srt", "--out", "{}/d.srt"], "--out {}/d.srt is one file, and 2 videos need one each; name a folder"),
        (["--as", "csv", "--labels", "walk"], "--labels must be labels of the file (jump, run/../x), got 'walk'"),
        (["--as", "csv", "--cut", "exact"], "--cut has no effect with --as csv, only with clips"),
        (["--as", "csv", "--max-per-video", "0"], "--max-per-video must be >= 1, got 0"),
        (["--as", "csv", "--videos", "{}/none"], "none of the 2 videos of the file (such as a) is in {}/none"),
    ],
)
def test_what_cannot_be_shown_is_said(data, command, words, message):
    constant(data / "none" / "other.mp4", 5, 25)
    code, _, err = command("show", data / "found.json", *(word.format(data) for word in words))
    assert code == 2
    assert message.format(data, data) in err
    assert len(err.splitlines()) == 1


def many(count: int, proposed: float | None = None) -> Listing:
    items = [Detection((k, k + 1), "ab"[k % 2], 1 - k / 100) for k in range(count)]
    return Listing({"v": items, "w": items[:3]}, proposed_score=proposed)


def test_the_best_are_chosen_and_the_choice_is_said():
    listing, line = choose(many(30), ShowConfig())
    assert ([len(items) for items in listing.videos.values()], "the best 10" in line) == ([10, 3], True)
    listing, line = choose(many(10), ShowConfig())
    assert (listing.count(), line) == (13, "")
    listing, line = choose(many(30, proposed=0.975), ShowConfig())
    assert ([item.score for item in listing.videos["v"]], "0.975 or more" in line) == ([1, 0.99, 0.98], True)
    listing, line = choose(many(30, proposed=0.975), ShowConfig(min_score=0))
    assert (listing.count(), line) == (33, "")
    listing, _ = choose(many(30), ShowConfig(max_per_label=2, labels=("a",)))
    assert {video: [item.score for item in items] for video, items in listing.videos.items()} == {"v": [1], "w": [1]}
