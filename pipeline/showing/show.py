"""Write the segments of a file in one of the forms that `show` knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.annotations.match import find_name, names_by_form
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.showing.clips import TABLE, make_clips
from pipeline.showing.config import Form, ShowConfig
from pipeline.showing.cutter import probe_video
from pipeline.showing.listing import Listing, choose, read_listing
from pipeline.showing.montage import DEFAULT_CLIPS, make_montages
from pipeline.showing.otio import otio_timeline
from pipeline.showing.outputs import OccupiedError, Outputs
from pipeline.showing.texts import EACH, WHOLE
from pipeline.storage.file_names import file_name_of
from pipeline.storage.local import cached
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoFile

_SUFFIXES = {"chapters": ".ffmetadata"}
_NEED_VIDEOS = ("clips", "montage", "otio")


@dataclass
class ShowSummary:
    """What was written, where, what failed with the reasons, and notes for the user."""

    out: Path
    text: str = ""
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def show(
    file: Path,
    form: Form,
    config: ShowConfig,
    *,
    videos: Sequence[AnyPath] | None = None,
    out: Path | None = None,
    report: Report = silent,
) -> ShowSummary:
    """Write the segments of a file of detections or ground truth in another form.

    Args:
        videos: as for `extract`; those of other ids than the file's are left out, and so are segments of other videos.
        out: the file, or the folder of the files; None: beside `file`, named after it.
        report: gets the share that is done, 0 to 1.

    Raises:
        PipelineError: a file is wrong, there are no videos where they are needed, or a file would be overwritten that
            `show` did not write.
    """
    if form in _NEED_VIDEOS and not videos:
        raise PipelineError(f"--as {form} needs the videos; say where they are with --videos FOLDER")
    if form == "montage" and config.max_per_label is None:
        config = replace(config, max_per_label=DEFAULT_CLIPS)
    whole = read_listing(file)
    notes = list(whole.notes)
    found: dict[str, VideoFile] = {}
    if videos:
        found, lacking = _found(whole, videos, config.frame_rate)
        whole = whole.only(list(found))
        notes += lacking
    listing, choice = choose(whole, config)
    notes += [choice] if choice else []
    if not listing.count():
        notes.append(f"nothing to show: {counted(whole.count(), 'segment')} in the file, none that fits")
    outputs, name = _outputs(file, form, out, listing)
    summary = ShowSummary(out if out is not None and name else outputs.folder, notes=notes)
    if form in WHOLE:
        outputs.write_text(name, WHOLE[form](listing))
        summary.out = outputs.folder / name
    elif form == "clips":
        summary.failed, early = make_clips(listing, found, outputs, exact=config.cut == "exact", report=report)
        if config.cut == "copy" and early > 0:
            notes.append(
                f"clips begin at key frames, up to {early:.1f} s before the action ({TABLE} says what each holds); "
                "--cut exact begins at the right frame"
            )
    elif form == "montage":
        summary.failed = make_montages(listing, found, outputs, report=report)
    else:
        summary.failed = _write_each(listing, form, found, outputs, name, report)
    shown = counted(listing.count(), "segment")
    summary.text = f"{shown} of {counted(len(listing.videos), 'video')}; {outputs.text()}"
    return summary


def _found(
    listing: Listing, inputs: Sequence[AnyPath], frame_rate: float | None
) -> tuple[dict[str, VideoFile], list[str]]:
    """Return the listing's videos that `inputs` hold, by the listing's ids, and a note on those that they lack."""
    found: dict[str, VideoFile] = {}
    refusal: PipelineError | None = None
    for ids in ("stem", "path"):
        try:
            videos = {video.id: video for video in find_videos(inputs, ids=ids, frame_rate=frame_rate)}
        except PipelineError as error:
            refusal = refusal or error
            continue
        known = names_by_form(videos)
        names = {video_id: find_name(video_id, known) for video_id in listing.videos}
        found = {video_id: videos[name] for video_id, name in names.items() if name is not None}
        if found:
            break
    if not found:
        where, example = ", ".join(map(str, inputs)), next(iter(listing.videos), "none")
        raise refusal or PipelineError(
            f"none of the {counted(len(listing.videos), 'video')} of the file (such as {example}) is in {where}; a "
            "video's id is its file name without the suffix, or its path below the folder"
        )
    lacking = [video_id for video_id in listing.videos if video_id not in found]
    words = f"left out: {counted(len(lacking), 'video')} of the file that --videos does not have"
    return found, [f"{words} (such as {lacking[0]})"] if lacking else []


def _outputs(file: Path, form: str, out: Path | None, listing: Listing) -> tuple[Outputs, str]:
    """Return where files go, and the name of the only one; "" for a file for each video."""
    suffix = _SUFFIXES.get(form, f".{form}")
    if form in WHOLE:
        target = out or file.with_suffix(suffix)
        if target.suffix.lower() != suffix:
            raise PipelineError(f"--out must end in {suffix}, got {target}")
        return Outputs(target.parent), target.name
    if out is not None and out.suffix.lower() == suffix and not out.is_dir():
        if len(listing.videos) > 1:
            raise PipelineError(
                f"--out {out} is one file, and {len(listing.videos)} videos need one each; name a folder"
            )
        return Outputs(out.parent), out.name
    return Outputs(out or file.with_name(f"{file.stem}-{form}")), ""


def _write_each(
    listing: Listing, form: str, found: dict[str, VideoFile], outputs: Outputs, only_name: str, report: Report
) -> dict[str, str]:
    """Write a file for each video; return what failed, with the reasons."""
    failed: dict[str, str] = {}
    for number, video_id in enumerate(listing.videos, start=1):
        name = only_name or file_name_of(video_id) + _SUFFIXES.get(form, f".{form}")
        try:
            outputs.write_text(name, _text(listing, form, video_id, found.get(video_id)))
        except (VideoError, OccupiedError) as error:
            failed[video_id] = str(error)
        report(number / len(listing.videos), f"{number}/{counted(len(listing.videos), 'video')}")
    return failed


def _text(listing: Listing, form: str, video_id: str, video: VideoFile | None) -> str:
    if form in ("chapters", "otio") and video is not None:
        probed = probe_video(cached(video.path), video.frame_rate)
        if form == "otio":
            url = video.path.url if isinstance(video.path, RemotePath) else video.path.absolute().as_uri()
            timeline = otio_timeline(listing, video_id, url=url, fps=probed.fps, duration=probed.duration)
            return json.dumps(timeline, indent=2, ensure_ascii=False) + "\n"
        listing = replace(listing, durations={video_id: float(probed.duration)})
    return EACH[form](listing, video_id)
