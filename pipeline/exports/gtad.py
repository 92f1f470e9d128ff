"""Export for G-TAD's THUMOS14 code: HDF5 files of rows, CSV files of segments in frames.

G-TAD places row i at frame `skip_videoframes * i`, and a frame at frame / rate seconds, so row 0 is at 0 s. The export
repeats the first row until row i is centered on `i * stride` seconds to within half a stride. A frame is a row here
(`skip_videoframes` 1). G-TAD reads two streams and joins them, flow before rgb: the export cuts the channels in two
halves. G-TAD chooses the file by the *name* of a video ("val" before "test"); if the name contains neither, it silently
uses the features of the previous video. The export changes such names. G-TAD's files cannot name videos without
segments, so these are left out; the rows of the others can be read back exactly (`read_rows`).
"""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports import hdf5
from pipeline.exports.claims import refusing
from pipeline.exports.clock import Clock
from pipeline.exports.hdf5 import open_hdf5
from pipeline.exports.job import ExportVideo, Job
from pipeline.storage.atomic_files import whole_file, write_text
from pipeline.text.plain import counted
from pipeline.text.table import csv_text

COLUMNS = ("video", "type", "type_idx", "start", "end", "startFrame", "endFrame")
TRUTH_COLUMNS = ("video-name", "frame-rate", "video-frames", "f-init", "f-end", "label")
TRUTH, NAMES, OPTIONS = "thumos14_test_groundtruth.csv", "names.csv", "options.txt"
_SPLITS = {"val": True, "test": False}  # G-TAD's names of the subsets; it trains on val


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write the export to `folder`; return notes for the user."""
    if job.store.spec.channels < 2:
        raise PipelineError(f"G-TAD needs two streams, so at least 2 channels; got {job.store.spec.channels}")
    names = gtad_names(job)
    for split, training in _SPLITS.items():
        videos = [video for video in job.subset(training=training) if video.annotations.segments]
        _write_streams(job, folder, split, videos, names)
        write_text(folder / f"{split}_Annotation.csv", _annotation_csv(job, videos, names))
    tested = [video for video in job.subset(training=False) if video.annotations.segments]
    write_text(folder / TRUTH, _truth_csv(job, tested, names))
    write_text(folder / NAMES, csv_text(("id", "video"), sorted((video_id, name) for video_id, name in names.items())))
    write_text(folder / OPTIONS, _options(job))
    return _notes(job, names)


def check(job: Job, folder: Path) -> list[str]:
    """Return the faults of the export in `folder`, read as G-TAD reads it."""
    faults = []
    expected = {name: video for video in job.videos if (name := gtad_names(job)[video.id])}
    h5py = open_hdf5()
    streams = {key: h5py.File(folder / f"{key}.h5", "r") for key in _stream_names()}
    try:
        for split in _SPLITS:
            with (folder / f"{split}_Annotation.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            for name in sorted({row["video"] for row in rows}):
                named = _split_of(name)
                parts = [streams[f"{stream}_{named}"].get(name) for stream in ("flow", "rgb")]
                if any(part is None for part in parts):
                    faults.append(f"{name} is not in the HDF5 files for {named}")
                    continue
                shape = (len(parts[0]), sum(part.shape[1] for part in parts))
                wanted = (expected[name].rows + leading_rows(job.clock), job.store.spec.channels)
                if shape != wanted:
                    faults.append(f"{name} is {list(shape)}, expected {list(wanted)}")
            for row in rows:
                stride_seconds = expected[row["video"]].clock.stride_seconds
                back = [float(row[column]) * stride_seconds for column in ("startFrame", "endFrame")]
                if max(abs(back[0] - float(row["start"])), abs(back[1] - float(row["end"]))) > 1e-3:
                    faults.append(f"{row['video']}: [{row['start']}, {row['end']}] s comes back as {back}")
    finally:
        for stream in streams.values():
            stream.close()
    return faults


def gtad_names(job: Job) -> dict[str, str]:
    """Return a name for each video by its id, with which G-TAD finds it in the right file."""
    names = {}
    for place, video in enumerate(job.videos):
        wanted = "val" if video.training else "test"
        found = next((split for split in _SPLITS if split in video.name), None)
        names[video.id] = video.name if found == wanted else f"video_{wanted}_{place:07d}"
    if len(set(names.values())) < len(names):
        names = {v.id: f"video_{'val' if v.training else 'test'}_{i:07d}" for i, v in enumerate(job.videos)}
    return names


def leading_rows(clock: Clock) -> int:
    """Return how many copies of the first row move row i nearest to `i * stride` seconds."""
    return round(clock.offset / clock.stride)


def read_names(folder: Path) -> dict[str, str]:
    """Return the names of the videos in the export `folder`, by the store's id.

    Raises:
        BadArray: the file is absent or damaged.
    """
    with refusing("CSV"), (folder / NAMES).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["video"] for row in csv.DictReader(file)}


def read_rows(folder: Path, name: str, clock: Clock) -> np.ndarray | None:
    """Return the rows of a video in the export `folder`, [T, C] float32, without the copies at the start.

    Returns:
        The rows, or None if the export has none of this video.

    Raises:
        BadArray: the files are damaged, or refer to other files.
    """
    split = _split_of(name)
    with hdf5.opened(folder / f"flow_{split}.h5") as flow, hdf5.opened(folder / f"rgb_{split}.h5") as rgb:
        if name not in flow:
            return None
        streams = [hdf5.read(hdf5.find(stream, name), least_rows=0) for stream in (flow, rgb)]
        return np.concatenate([stream[leading_rows(clock) :] for stream in streams], axis=1)


def _split_of(name: str) -> str:
    """Return the split in whose files G-TAD looks for a video of this name."""
    return "val" if "val" in name else "test"


def _stream_names() -> list[str]:
    return [f"{stream}_{split}" for stream in ("flow", "rgb") for split in _SPLITS]


def _write_streams(job: Job, folder: Path, split: str, videos: list[ExportVideo], names: dict[str, str]) -> None:
    half = job.store.spec.channels // 2
    h5py = open_hdf5()
    for stream, columns in (("flow", slice(0, half)), ("rgb", slice(half, None))):
        with whole_file(folder / f"{stream}_{split}.h5") as partial, h5py.File(partial, "w") as file:
            for video in videos:
                features = job.store.read(video.id).features[:, columns]
                lead = np.repeat(features[:1], leading_rows(job.clock), axis=0)
                file.create_dataset(names[video.id], data=np.concatenate([lead, features]).astype(np.float32))


def _annotation_csv(job: Job, videos: list[ExportVideo], names: dict[str, str]) -> str:
    rows = []
    for video in videos:
        for segment in video.annotations.segments:
            start, end = segment.segment
            frames = [repr(round(seconds / video.clock.stride_seconds, 6)) for seconds in (start, end)]
            place = job.labels.index(segment.label) + 1  # 0 is G-TAD's "Ambiguous"
            rows.append((names[video.id], segment.label, place, repr(start), repr(end), *frames))
    return csv_text(COLUMNS, rows)


def _truth_csv(job: Job, videos: list[ExportVideo], names: dict[str, str]) -> str:
    rows = []
    for video in videos:
        for segment in video.annotations.segments:
            frames = [round(seconds / video.clock.stride_seconds, 6) for seconds in segment.segment]
            rate = 1 / video.clock.stride_seconds
            rows.append((names[video.id], rate, video.rows + leading_rows(job.clock), *frames, segment.label))
    return csv_text(TRUTH_COLUMNS, rows)


def _options(job: Job) -> str:
    copies = leading_rows(job.clock)
    seconds = sorted({f"{video.clock.stride_seconds:g}" for video in job.videos}, key=float)
    stride = seconds[0] if len(seconds) == 1 else f"{seconds[0]} to {seconds[-1]}"
    return f"""# Options for G-TAD's THUMOS14 code. One frame is one row, {stride} s.
# Row i is centred on i rows' time to within half of that; for it, {copies} copies of the first row come before it.
--feature_path {shlex.quote(str(job.home))}
--video_info {shlex.quote(f"{job.home}/")}
--video_anno {shlex.quote(f"{job.home}/")}
--feat_dim {job.store.spec.channels}
--skip_videoframes 1
--override
"""


def _notes(job: Job, names: dict[str, str]) -> tuple[str, ...]:
    notes = []
    empty = sum(not video.annotations.segments for video in job.videos)
    if empty:
        notes.append(f"left out {counted(empty, 'video')} without segments: G-TAD's CSV files cannot name them")
    renamed = sum(names[video.id] != video.name for video in job.videos)
    if renamed:
        videos = counted(renamed, "video", "has another name", "have other names")
        notes.append(f"{videos}, since G-TAD tells the subset by the name ({NAMES})")
    return tuple(notes)
