"""What `segment` left beside its annotations, for the report: contact sheets, self-similarities, the map."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.report.facts import FoundKinds
from pipeline.report.pictures import PICTURE_FOLDER, Picture

_SHOWN_VIDEOS = 200


@dataclass(frozen=True)
class KindPictures:
    """The pictures beside the page."""

    sheets: list[Picture]
    videos: list[Picture]
    map: Picture | None


def read_found_kinds(folder: Path) -> FoundKinds | None:
    """Return the pictures in a folder that `segment` wrote; None for another folder."""
    if not (folder / "segments.json").is_file():
        return None
    sheets = sorted((folder / "kinds").glob("kind_*.png"), key=lambda file: (len(file.name), file.name))
    videos = sorted((folder / "self_similarity").glob("*.png"))[:_SHOWN_VIDEOS]
    whole = folder / "map.png"
    return FoundKinds(
        sheets=[(file.stem.replace("_", " "), file) for file in sheets if _is_plain(file)],
        videos=[(file.stem, file) for file in videos if _is_plain(file)],
        map=whole if _is_plain(whole) else None,
    )


def copy_pictures(kinds: FoundKinds, out: Path) -> KindPictures:
    """Copy the pictures beside the page of the report in `out`."""
    (out / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)

    def copied(file: Path, name: str, text: str, title: str = "") -> Picture:
        place = f"{PICTURE_FOLDER}/{name}.png"
        shutil.copyfile(file, out / place)
        return Picture(place, text, title)

    return KindPictures(
        [copied(f, f"kind-{n}", f"pictures of segments of {t}", t) for n, (t, f) in enumerate(kinds.sheets)],
        [copied(f, f"video-{n}", f"self-similarity of {t}", t) for n, (t, f) in enumerate(kinds.videos)],
        None if kinds.map is None else copied(kinds.map, "map", "all segments on a plane; near ones look alike"),
    )


def _is_plain(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()
