"""Small frames of whole videos on disk, so that an epoch decodes nothing: the frames that `extract` takes, uncropped.

    FOLDER/KEY.frames      uint8 [K, h, w, 3], raw: each frame that some snippet needs, once, scaled as for the encoder
    FOLDER/KEY.rows.npy    int32 [T, F]: the F frames of each of the T snippets
    FOLDER/KEY.json        shapes, and what a row means in seconds; written last, so a video with it is complete

KEY tells the file (path, bytes, time), the grid of snippets and the size. A video takes K * h * w * 3 bytes: an hour of
all frames at 30 a second takes 7.1 GB at 128 x 171 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event

import numpy as np

from encoders.spec import EncoderSpec
from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.storage.atomic_files import partial_path, publish, whole_file, write_json
from pipeline.storage.location import local
from pipeline.storage.read_files import read_json
from pipeline.store.spec import rows_as_json
from pipeline.video.decode import Chunk, decode
from pipeline.video.errors import VideoError
from pipeline.video.flow_pictures import WholeFrames
from pipeline.video.limits import DecodeLimits
from pipeline.video.metadata import probe
from pipeline.video.report import DecodeReport, refuse_damaged
from pipeline.video.videos import VideoFile


@dataclass(frozen=True, kw_only=True)
class CachedVideo:
    """A video whose small frames are on disk.

    Args:
        frames, height, width: K, h and w of its frames.
        snippets: T.
        stride_seconds, window_seconds: as in `TrainItem`.
        duration_seconds: of the video, as measured.
        path: of its files, without their endings.
    """

    frames: int
    height: int
    width: int
    snippets: int
    stride_seconds: float
    window_seconds: float
    duration_seconds: float
    path: str

    @property
    def bytes(self) -> int:
        """Size of its frames on disk."""
        return self.frames * self.height * self.width * 3

    def pixels(self) -> np.ndarray:
        """Return the frames, uint8 [K, h, w, 3], memory-mapped."""
        shape = (self.frames, self.height, self.width, 3)
        return np.memmap(f"{self.path}.frames", dtype=np.uint8, mode="r", shape=shape)

    def rows(self) -> np.ndarray:
        """Return the frames of each snippet, int32 [T, F]."""
        rows: np.ndarray = np.load(f"{self.path}.rows.npy", allow_pickle=False)
        return rows


def cache_videos(
    videos: Sequence[VideoFile],
    spec: EncoderSpec,
    plan: SnippetPlan,
    folder: Path,
    *,
    report: Callable[[int, int], None],
) -> tuple[dict[str, CachedVideo], dict[str, str]]:
    """Write the small frames of the videos that `folder` lacks.

    Args:
        videos: local ones.
        plan: how videos are cut into snippets.
        report: called with the number of videos done and the bytes of their frames.

    Returns:
        The cached videos by id, and "kind: reason" of those that failed, by id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cached: dict[str, CachedVideo] = {}
    failed: dict[str, str] = {}
    stopped = Event()

    def one(video: VideoFile) -> CachedVideo | str:
        path = folder / _key(video, spec, plan)
        try:
            return _cached_before(path) or _write(local(video.path), path, spec, plan, stopped)
        except VideoError as error:
            return str(error)

    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for number, (video, found) in enumerate(zip(videos, pool.map(one, videos), strict=True), start=1):
                if isinstance(found, str):
                    failed[video.id] = found
                else:
                    cached[video.id] = found
                report(number, sum(video.bytes for video in cached.values()))
        finally:
            stopped.set()  # after an error or Ctrl-C, nobody waits for the rest
            pool.shutdown(cancel_futures=True)
    return cached, failed


def _key(video: VideoFile, spec: EncoderSpec, plan: SnippetPlan) -> str:
    file = local(video.path)
    stat = file.stat()
    size = [spec.short_side, spec.fixed_size, spec.interpolation]
    facts = [str(file.resolve()), stat.st_size, stat.st_mtime_ns, rows_as_json(plan), size]
    return sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _cached_before(path: Path) -> CachedVideo | None:
    try:
        video = CachedVideo(**read_json(Path(f"{path}.json"), what="small frames"), path=str(path))
        return video if Path(f"{path}.frames").stat().st_size == video.bytes else None
    except (PipelineError, OSError, TypeError):
        return None


def _write(file: Path, path: Path, spec: EncoderSpec, plan: SnippetPlan, stopped: Event) -> CachedVideo:
    """Decode one video; frames go to the disk as they come. Give up when `stopped` is set."""
    info = probe(file)
    plan = plan.at(info.fps)
    rows: list[tuple[int, ...]] = []
    count, shape, seconds = 0, (0, 0, 3), 0.0
    partial = partial_path(Path(f"{path}.frames"))
    try:
        with partial.open("wb") as stream:
            for item in decode(info, plan, WholeFrames(spec)):
                if stopped.is_set():
                    raise KeyboardInterrupt
                if isinstance(item, DecodeReport):
                    refuse_damaged(info, item, max_corrupt=DecodeLimits().max_corrupt)
                    seconds = float(item.duration)
                    continue
                assert isinstance(item, Chunk)
                for picture in item.frames:
                    stream.write(np.ascontiguousarray(picture).data)
                    shape = picture.shape
                count += len(item.frames)
                rows += [snippet.ordinals for snippet in item.snippets]
        publish(partial, Path(f"{path}.frames"))
    finally:
        partial.unlink(missing_ok=True)
    with whole_file(Path(f"{path}.rows.npy")) as part, part.open("wb") as stream:
        np.save(stream, np.asarray(rows, dtype=np.int32), allow_pickle=False)
    video = CachedVideo(
        frames=count,
        height=shape[0],
        width=shape[1],
        snippets=len(rows),
        stride_seconds=float(plan.stride_seconds),
        window_seconds=float(plan.window_seconds),
        duration_seconds=seconds,
        path=str(path),
    )
    write_json(Path(f"{path}.json"), {name: value for name, value in asdict(video).items() if name != "path"})
    return video
