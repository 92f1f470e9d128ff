"""The driver's side of extraction on a Ray cluster: hand out videos and ranges, collect their outcomes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import capacity_in, connected
from pipeline.cluster.worker import JobResult, RowsAdded
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.ray_parts import PartFailed, is_written, remove_settled_parts
from pipeline.extraction.ray_worker import About, Encode, Join, open_extraction
from pipeline.extraction.store_writer import Outcome, record_failure
from pipeline.storage.location import AnyPath, is_remote
from pipeline.store.feature_store import FeatureStore
from pipeline.video.events import LongVideo
from pipeline.video.ranges import CuttableVideo, VideoRange, cut
from pipeline.video.videos import VideoFile

_RANGE_MINUTES = 20.0


@contextmanager
def workers(out: AnyPath, config: ExtractConfig, *, videos: int) -> Iterator[Workers]:
    """Start workers on the cluster that `config` names; stop them at the end of the block.

    Args:
        videos: number of videos; some may be done already.

    Raises:
        PipelineError, EncoderError: no Ray, no cluster, no encoder there, or workers that make different features.
    """
    if config.device not in ("auto", "cpu", "cuda"):
        raise PipelineError(f"with executor='ray' device must be auto, cpu or cuda, got {config.device!r}")
    with connected(config.execution) as ray:
        decoders = config.execution.ray_decoders or 0
        capacity = capacity_in(ray, config.execution, on_cpu=config.device == "cpu", more_cpus=decoders)
        known: list[tuple[str, About]] = []

        def require_equal_features(name: str, about: Any) -> None:
            known.append((name, about))
            if differing := known[0][1].spec.differences(about.spec):
                raise PipelineError(
                    f"the workers would make different features; give device and precision. Here is {known[0][0]}, "
                    f"there {name}: {'; '.join(differing)}"
                )

        # Each decoder process holds a video and the next one; one more waits while a result is on its way.
        depth = 2 * (decoders or config.workers or max(1, capacity.cpus - 1)) + 1
        opener = f"{open_extraction.__module__}:{open_extraction.__name__}"
        arguments = (out, config, capacity.cpus)  # paths mean the same on all machines
        with RayPool(ray, opener, arguments, capacity=capacity, depth=depth, on_ready=require_equal_features) as pool:
            yield Workers(pool, config, videos=videos)


@dataclass
class _Cut:
    """A video in ranges, and the keys of the ranges still to come."""

    video: VideoFile
    parts: tuple[VideoRange, ...]
    missing: set[str]


class Workers:
    """The workers of one extraction.

    Attributes:
        about: the features that they make, and their encoder.
    """

    def __init__(self, pool: RayPool, config: ExtractConfig, *, videos: int) -> None:
        self._pool = pool
        self._decoders = config.execution.ray_decoders
        self._longest = 60 * (config.execution.ray_range_minutes or _RANGE_MINUTES)
        self._cuts: dict[str, _Cut] = {}
        self.about: About = pool.wait_for_first(jobs=videos)

    def outcomes(self, videos: Iterator[VideoFile], store: FeatureStore) -> Generator[Outcome | RowsAdded, None, None]:
        """Extract videos; yield their outcomes, and the rows in between, as reports arrive."""
        jobs = (Encode(self._cuttable(video, store), store.next_attempt(video.id)) for video in videos)
        for result in self._pool.run(jobs):
            if isinstance(result, RowsAdded):
                yield result
            elif isinstance(result, JobLost):
                yield from self._lost(result, store)
            elif isinstance(result.result, Outcome):
                yield replace(result.result, worker=result.worker)
            elif isinstance(result.result, LongVideo):
                self._cut(result.result, store)
            else:
                self._part_ended(result)
        remove_settled_parts(store)

    def _cuttable(self, video: VideoFile, store: FeatureStore) -> VideoFile:
        """Mark a video as one that may be cut, unless it or the store is remote.

        Each range would download the whole of a remote video, and a remote store cannot keep ranges.
        """
        if self._decoders and is_remote(video.path):
            raise PipelineError(
                f"ray_decoders needs videos in folders that all machines see, got {video.path}; without ray_decoders "
                "each worker downloads and decodes for itself"
            )
        if not (isinstance(video.path, Path) and isinstance(store.path, Path)):
            return video
        return CuttableVideo(id=video.id, path=video.path, longest_seconds=self._longest)

    def _cut(self, long: LongVideo, store: FeatureStore) -> None:
        """Queue the ranges of a video that are not written yet."""
        video = VideoFile(long.video.id, long.video.path)
        ranges = cut(long.info, store.spec.plan, longest_seconds=self._longest)
        parts = tuple(
            VideoRange(
                id=f"{video.id}\0{first}-{end}",
                path=video.path,
                video=video,
                first_row=first,
                end_row=end,
                num_rows=ranges[-1][1],
                info=long.info,
            )
            for first, end in ranges
        )
        missing = [part for part in parts if not is_written(store, part)]
        self._cuts[video.id] = _Cut(video, parts, {part.id for part in missing})
        for part in reversed(missing):
            self._pool.add(Encode(part), first=True)
        self._join_if_complete(self._cuts[video.id])

    def _part_ended(self, ended: JobResult) -> None:
        """Join the ranges after the last one; encode the video as a whole after a range or the join has failed."""
        video_id = ended.key.split("\0")[0]
        the_cut = self._cuts.get(video_id)
        if the_cut is None:  # given up before
            return
        if isinstance(ended.result, PartFailed):
            self._forget(video_id)
            self._pool.add(Encode(the_cut.video), first=True)
            return
        the_cut.missing.discard(ended.key)
        self._join_if_complete(the_cut)

    def _join_if_complete(self, the_cut: _Cut) -> None:
        if not the_cut.missing:
            self._pool.add(Join(the_cut.video, the_cut.parts), first=True)

    def _lost(self, lost: JobLost, store: FeatureStore) -> Iterator[Outcome]:
        video = lost.job.video
        if isinstance(video, VideoRange):
            video = video.video
            if video.id not in self._cuts:
                return
        self._forget(video.id)
        outcome = record_failure(store, VideoFile(video.id, video.path), "crashed", lost.reason)
        yield replace(outcome, worker=lost.details)

    def _forget(self, video_id: str) -> None:
        """Give up the ranges of a video; ignore the results of those that still run."""
        self._cuts.pop(video_id, None)
        self._pool.drop(lambda job: job.key.startswith(f"{video_id}\0"))
