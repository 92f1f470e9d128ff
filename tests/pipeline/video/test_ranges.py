"""Ranges of a video, each decoded from a key frame before it, equal one pass from front to back."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.snippets import SnippetPlan
from pipeline.video import decord_backend
from pipeline.video.decode import Backend, Chunk, decode
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.errors import VideoError
from pipeline.video.events import Failed, Finished, LongVideo, Snippets
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodePool
from pipeline.video.ranges import CuttableVideo, VideoRange, cut, part_of, why_whole
from pipeline.video.videos import VideoFile
from tests import videos as make
from tests.toys import TOY_SPEC

PLAN = SnippetPlan(fps=Fraction(10), window_frames=Fraction(8), stride_frames=Fraction(4), num_frames=4)
GAPS = SnippetPlan(fps=Fraction(10), window_frames=Fraction(2), stride_frames=Fraction(7), num_frames=2)
DROP = SnippetPlan(fps=Fraction(10), window_frames=Fraction(8), stride_frames=Fraction(3), num_frames=4, tail="drop")


def uneven(frames: int) -> list[int]:
    """Return timestamps in ticks of 1/100 s with ever-changing distances."""
    steps = np.random.default_rng(0).integers(4, 17, frames)
    return [0, *np.cumsum(steps)[:-1].tolist()]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        "plain": make.constant(folder / "plain.mp4", 130, 10, options={"bf": "0", "qp": "12"}),
        "b_frames": make.constant(folder / "b.mp4", 130, 10, b_frames=3),
        "matroska": make.constant(folder / "m.mkv", 130, 25),
        "uneven": make.write_video(folder / "u.mp4", uneven(130), Fraction(1, 100)),
        "vp9": make.constant(
            folder / "v.webm", 100, 10, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}
        ),
        "open_gop": make.constant(
            folder / "o.mp4", 130, 10, options={"x264-params": "open-gop=1:bframes=3", "qp": "12"}
        ),
    }


def range_of(name: str, video: VideoFile, first: int, end: int, rows: int, info) -> VideoRange:
    return VideoRange(id=name, path=video.path, video=video, first_row=first, end_row=end, num_rows=rows, info=info)


def rows_of(items) -> tuple[dict[int, bytes], object]:
    """Return the pixels of each row, and the report."""
    frames, rows, report = {}, {}, None
    for item in items:
        if not isinstance(item, Chunk):
            report = item
            continue
        for ordinal, frame in enumerate(item.frames, start=item.first_ordinal):
            frames[ordinal] = frame.tobytes()
        for snippet in item.snippets:
            rows[snippet.row] = b"".join(frames[ordinal] for ordinal in snippet.ordinals)
    return rows, report


def decoded(info, plan, decoder: str, rows: tuple[int, int, int] | None = None):
    part = None if rows is None else part_of(info, plan.at(info.fps), *rows)
    return rows_of(decode(info, plan.at(info.fps), TOY_SPEC, backend=Backend(decoder), part=part))


@pytest.mark.parametrize("plan", [PLAN, GAPS, DROP], ids=["overlapping", "gaps", "drop"])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("name", ["plain", "b_frames", "matroska", "uneven", "vp9"])
def test_ranges_equal_one_pass(files, name, decoder, plan):
    if decoder == "decord":
        pytest.importorskip("decord")
        if name == "uneven":
            pytest.skip("decord is not used for variable frame rates")
    info = probe(files[name])
    whole, report = decoded(info, plan, decoder)
    ranges = cut(info, plan, longest_seconds=2.0)
    assert len(ranges) >= 3
    counted = 0
    for first, end in ranges:
        rows, part_report = decoded(info, plan, decoder, (first, end, len(whole)))
        beyond = min(end + 1, len(whole))
        assert list(rows) == list(range(first, beyond))
        assert all(rows[row] == whole[row] for row in rows)
        counted += part_report.decoded_frames
    assert counted == report.decoded_frames
    assert part_report.duration == report.duration


def test_a_range_begins_at_the_last_key_frame_before_it_that_nothing_stored_later_precedes(files):
    info = probe(files["b_frames"])  # a key frame every 12 frames, 10 frames a second, rows every 4
    frames = [info.timestamps.index(tick) for tick in info.entries]
    assert frames[:10] == list(range(0, 120, 12))
    part = part_of(info, PLAN, 8, 16, 33)
    assert (part.first_frame, part.end_frame, part.entry, part.end_row) == (32, 64, 24, 17)
    assert part_of(info, PLAN, 24, 33, 33).end_frame == 130


def test_ranges_cover_the_rows_and_keep_to_the_longest_length(files):
    info = probe(files["plain"])  # 13 s, 33 rows
    ranges = cut(info, PLAN, longest_seconds=4.0)
    assert ranges == [(0, 8), (8, 16), (16, 24), (24, 33)]
    assert cut(info, PLAN, longest_seconds=13.0) == []
    # Key frames are 1.2 s apart, three rows: ranges of one row without a key frame merge with the one before.
    short = cut(info, PLAN, longest_seconds=0.4)
    assert [end - first for first, end in short[:9]] == [3] * 9


def test_an_open_group_of_pictures_is_no_place_to_begin(files):
    info = probe(files["open_gop"])  # frames that are shown before its key frames are stored after them
    assert 12 not in [info.timestamps.index(tick) for tick in info.entries]
    assert len(cut(info, PLAN, longest_seconds=2.0)) < 3


def test_without_key_frames_on_the_way_a_video_stays_whole(tmp_path):
    path = make.constant(tmp_path / "one.mp4", 130, 10, context={"gop_size": 1000}, options={"sc_threshold": "0"})
    assert cut(probe(path), PLAN, longest_seconds=2.0) == []


@pytest.mark.parametrize(("suffix", "codec", "words"), [("ts", "libx264", "mpegts"), ("avi", "mpeg4", "avi")])
def test_containers_without_a_reliable_index_stay_whole(tmp_path, suffix, codec, words):
    info = probe(make.constant(tmp_path / f"a.{suffix}", 130, 10, codec=codec))
    assert words in why_whole(info)
    assert cut(info, PLAN, longest_seconds=2.0) == []


def test_damage_makes_a_range_fail_rather_than_differ(files, tmp_path):
    path = tmp_path / "damaged.mp4"
    path.write_bytes(files["plain"].read_bytes())
    size = path.stat().st_size
    make.flip_bits(path, range(size // 2, size // 2 + 400, 3))
    info = probe(path)
    ranges = cut(info, PLAN, longest_seconds=2.0)
    failed = 0
    whole, report = decoded(info, PLAN, "pyav")
    for first, end in ranges:
        try:
            rows, _ = decoded(info, PLAN, "pyav", (first, end, len(whole)))
        except VideoError as error:
            failed += error.kind == "decode_error"
        else:
            assert all(rows[row] == whole[row] for row in rows)
    assert report.corrupt_frames > 0
    assert failed >= 1


def test_the_pool_describes_a_long_video_and_decodes_its_ranges(files):
    video = VideoFile("v", files["b_frames"])
    with DecodePool(1, DecodeSettings(TOY_SPEC, PLAN)) as pool:
        (long,) = pool.decode([CuttableVideo(id="v", path=video.path, longest_seconds=5.0)])
        assert isinstance(long, LongVideo)
        whole = np.concatenate([e.frames for e in pool.decode([video]) if isinstance(e, Snippets)])
        parts = [
            range_of(f"v{first}", video, first, end, len(whole), long.info)
            for first, end in cut(long.info, PLAN, longest_seconds=5.0)
        ]
        events = list(pool.decode(parts))
    assert len(parts) == 3
    assert [event.video for event in events if isinstance(event, Finished)] == parts
    for part in parts:
        rows = np.concatenate([e.frames for e in events if isinstance(e, Snippets) and e.video == part])
        assert np.array_equal(rows, whole[part.first_row : part.end_row + 1])


def test_a_short_video_is_decoded_although_it_may_be_cut(files):
    with DecodePool(1, DecodeSettings(TOY_SPEC, PLAN)) as pool:
        events = list(pool.decode([CuttableVideo(id="v", path=files["plain"], longest_seconds=60.0)]))
    assert isinstance(events[-1], Finished)


def test_a_range_of_a_file_that_has_changed_fails(files, tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(files["plain"].read_bytes())
    part = range_of("r", VideoFile("v", path), 8, 16, 33, probe(path))
    path.write_bytes(files["uneven"].read_bytes())
    with DecodePool(1, DecodeSettings(TOY_SPEC, PLAN)) as pool:
        *_, last = pool.decode([part])
    assert isinstance(last, Failed)


@pytest.mark.slow
@pytest.mark.real_data
def test_ranges_of_real_videos_equal_one_pass_or_fail(real_data):
    compared = dict.fromkeys(("pyav", "decord"), 0)
    files = [*(real_data / "activitynet").rglob("*.mp4"), *sorted((real_data / "awkward").rglob("*.*"))]
    files += sorted((real_data / "fall_topdown").rglob("*.mp4"))[:1]
    for path in files:
        try:
            info = probe(path)
        except VideoError:
            continue
        ranges = cut(info, PLAN, longest_seconds=float(info.duration) / 4)
        exact = decord_backend.is_installed() and decord_backend.why_wrong(info) is None
        for decoder in ("pyav", "decord") if exact else ("pyav",):
            whole = decoded(info, PLAN, decoder)[0] if ranges else {}
            for first, end in ranges:
                try:
                    rows, _ = decoded(info, PLAN, decoder, (first, end, len(whole)))
                except VideoError as error:
                    assert error.kind == "decode_error"
                else:
                    assert all(rows[row] == whole[row] for row in rows), f"{path.name} {decoder} {first}-{end}"
                    compared[decoder] += 1
    assert min(compared.values()) >= 6
