"""Ranges of a video become its sequence, or are refused because they do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cluster.worker import RowsAdded
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Rows
from pipeline.extraction.ray_parts import (
    PartFailed,
    PartWriter,
    PartWritten,
    UnfitError,
    is_written,
    join,
    remove_settled_parts,
)
from pipeline.extraction.store_writer import StoreWriter
from pipeline.store.feature_store import FeatureStore
from pipeline.video.events import Failed, Finished, Restarted
from pipeline.video.metadata import probe
from pipeline.video.ranges import VideoRange
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile
from tests import videos as make
from tests.toys import toy_store_spec

ROWS = np.random.default_rng(0).normal(0, 1, (10, 6)).astype(np.float32)
REPORT = DecodeReport("pyav", "1", "asked for", 0, 0, make.Fraction(4), 0, ("a note",))
FRAMES = {(0, 4): 16, (4, 7): 12, (7, 10): 12}  # of each range, 10 a second, four a row


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store", toy_store_spec(ExtractConfig()))


@pytest.fixture
def video(tmp_path) -> VideoFile:
    return VideoFile("folder/v", make.constant(tmp_path / "v.mp4", 40, 10))


def range_of(name: str, video: VideoFile, first: int, end: int, rows: int, info) -> VideoRange:
    return VideoRange(id=name, path=video.path, video=video, first_row=first, end_row=end, num_rows=rows, info=info)


def parts_of(video: VideoFile) -> list[VideoRange]:
    info = probe(video.path)
    return [range_of(f"{first}-{end}", video, first, end, 10, info) for first, end in FRAMES]


def write(store: FeatureStore, part: VideoRange, rows: np.ndarray = ROWS, **report) -> None:
    """Write a range as a worker does, a few rows at a time."""
    writer = PartWriter(store)
    writer.begin(part)
    chunk = rows[part.first_row : part.end_row + 1]
    assert writer.take(Rows(part, chunk[:1])) == RowsAdded(1)
    writer.take(Rows(part, chunk[1:]))
    frames = FRAMES[part.first_row, part.end_row]
    done = replace(REPORT, decoded_frames=frames, num_snippets=len(chunk), **report)
    assert writer.take(Finished(part, part.info, done)) == PartWritten()


def test_ranges_become_the_sequence_that_one_writer_would_have_written(store, video):
    parts = parts_of(video)
    for part in reversed(parts):
        write(store, part)
    outcome = join(store, video, parts)
    assert (outcome.video, outcome.rows, outcome.kind) == (video, 10, "")
    sequence = store.read(video.id)
    assert np.array_equal(sequence.features, ROWS)
    with store.writer("whole") as writer:
        writer.append(ROWS)
        writer.commit({})
    assert store.array_path(video.id).read_bytes() == store.array_path("whole").read_bytes()
    facts = sequence.sidecar["decoder"]
    assert (facts["decoded_frames"], facts["corrupt_frames"], facts["notes"]) == (40, 0, ["a note"])
    assert sequence.sidecar["duration_exact"] == "4"


def test_finished_ranges_are_known_as_long_as_the_file_is_the_same(store, video):
    first, second, _ = parts_of(video)
    write(store, first)
    assert is_written(store, first)
    assert not is_written(store, second)
    assert not is_written(store, replace(first, num_rows=11))
    make.constant(video.path, 41, 10)
    assert not is_written(store, first)


def spoil_rows(store: FeatureStore, video: VideoFile, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def cut_short(store: FeatureStore, video: VideoFile, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def remove(store: FeatureStore, video: VideoFile, file: Path) -> None:
    file.unlink()


def change_video(store: FeatureStore, video: VideoFile, file: Path) -> None:
    make.constant(video.path, 41, 10)


def write_another(store: FeatureStore, video: VideoFile, file: Path) -> None:
    """A range whose rows are a little off, as after a seek to the wrong frame."""
    write(store, parts_of(video)[1], ROWS + np.float32(1e-7))


def decode_otherwise(store: FeatureStore, video: VideoFile, file: Path) -> None:
    write(store, parts_of(video)[1], backend="decord")


@pytest.mark.parametrize("spoil", [spoil_rows, cut_short, remove, change_video, write_another, decode_otherwise])
def test_ranges_that_do_not_fit_are_refused_and_leave_nothing(store, video, spoil):
    parts = parts_of(video)
    for part in parts:
        write(store, part)
    (file,) = store.path.glob("parts/*/4-7.npy")
    spoil(store, video, file)
    with pytest.raises(UnfitError):
        join(store, video, parts)
    assert list((store.path / "features").iterdir()) == []


def test_rows_that_are_not_finite_fail_the_video_as_everywhere(store, video):
    parts = parts_of(video)
    for part in parts:
        write(store, part, np.where(np.arange(10)[:, None] == 5, np.float32("nan"), ROWS))
    outcome = join(store, video, parts)
    assert outcome.kind == "not_finite"
    assert store.failure(video.id)["kind"] == "not_finite"


def test_a_range_that_fails_or_restarts_gives_no_rows(store, video):
    part = parts_of(video)[0]
    writer = PartWriter(store)
    writer.begin(part)
    writer.take(Rows(part, ROWS[:3]))
    assert writer.take(Restarted(part, "its decoder died")) == RowsAdded(-3)
    writer.take(Rows(part, ROWS[:2]))
    assert writer.take(Failed(part, "decode_error", "damage")) == PartFailed("decode_error: damage")
    assert not is_written(store, part)


def test_a_failure_that_a_second_worker_records_for_one_that_died_counts_once(store, video):
    records = []
    for attempt in (1, 1, 2):
        with StoreWriter(store) as writer:
            writer.begin(video, attempt=attempt)
            assert [outcome.kind for outcome in writer.take(Failed(video, "corrupt", "damage"))] == ["corrupt"]
        records.append(store.failure_path(video.id).read_bytes())
    assert records[0] == records[1] != records[2]
    assert store.next_attempt(video.id) == 3


def test_only_ranges_of_settled_videos_are_removed(store, video):
    parts = parts_of(video)
    other = [replace(part, video=VideoFile("other", video.path)) for part in parts]
    for part in [*parts, *other]:
        write(store, part)
    join(store, video, parts)
    remove_settled_parts(store)
    assert [path.name for path in (store.path / "parts").iterdir()] == ["other"]
    store.write_failure("other", kind="corrupt", reason="", source={})
    remove_settled_parts(store)
    assert not (store.path / "parts").exists()
