"""BORIS: its project, `.boris` (JSON). State events are segments; point events are counted and left out.

A state event is a start or, if the same subject is in the state already, its stop. Of an observation's players the
first is taken; its media files follow one another, and times count through all of them. An observation's time offset is
not added: times are those of the media.

Source: https://www.boris.unito.it/user_guide/ and `boris/config.py`, `boris/project_functions.py` of
https://github.com/olivierfriard/BORIS: `observations[].events[]` are [time, subject, behavior, modifiers, comment, …].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import video_id_of
from pipeline.annotations.tools.parts import objects_in

Media = list[tuple[str, float | None]]


def recognizes(content: Content) -> bool:
    """Return whether a JSON value is a project of BORIS."""
    return isinstance(content.json, dict) and {"observations", "behaviors_conf"} <= content.json.keys()


def translate(content: Content) -> RawAnnotations:
    """Return the state events of all observations of media."""
    found, kinds = Gather("boris"), {}
    for where, behavior in objects_in(content.json, "behaviors_conf", "", found):
        if isinstance(behavior.get("code"), str):
            kinds[behavior["code"]] = str(behavior.get("type", "")).lower()
        else:
            found.fault(where, f"code must be a name, got {behavior.get('code')!r:.40}")
    for where, observation in objects_in(content.json, "observations", "", found):
        media = _media(observation)
        if not media:
            found.leave_out("observation", "without a media file")
            continue
        for name, seconds in media:
            found.video(video_id_of(name), duration=seconds)
        if observation.get("time offset"):
            found.note(
                "observations have a time offset, which is not added: check that their times are those of the video"
            )
        _events(observation, where, media, kinds, found)
    return found.result()


def _media(observation: Mapping[str, Any]) -> Media:
    """Return the media files of the first player and their seconds, None where unknown."""
    players, info = observation.get("file"), observation.get("media_info")
    files = players.get("1") if isinstance(players, dict) else None
    lengths = info.get("length") if isinstance(info, dict) else None
    known = lengths if isinstance(lengths, dict) else {}
    names = [name for name in files if isinstance(name, str) and name] if isinstance(files, list) else []
    return [(name, _seconds(known.get(name))) for name in names]


def _events(observation: Mapping[str, Any], where: str, media: Media, kinds: Mapping[str, str], found: Gather) -> None:
    events = observation.get("events")
    started: dict[tuple[str, ...], tuple[float, str]] = {}
    for place, event in sorted(enumerate(events if isinstance(events, list) else ()), key=_time):
        at = f"{where}/events/{place}"
        if not isinstance(event, list) or len(event) < 3 or not _is_number(event[0]):
            found.fault(at, f"expected [time, subject, behavior, …], got {event!r:.60}")
            continue
        label = str(event[2])
        kind = kinds.get(label)
        if kind is None:
            found.fault(at, f"behavior {label!r:.40} is not in behaviors_conf")
        elif kind.startswith("point"):
            found.leave_out("point event", "(they have no length)")
        else:
            key = (label, str(event[1]), str(event[3]) if len(event) > 3 else "")
            if key in started:
                add_stretch(found, media, (started.pop(key)[0], float(event[0])), label, where=at)
            else:
                started[key] = (float(event[0]), at)
    for (label, *_), (_, at) in started.items():
        found.fault(at, f"state event {label!r:.40} starts and never stops")


def add_stretch(found: Gather, media: Media, times: tuple[float, float], label: str, *, where: str) -> None:
    """Add a segment, with times on the clock of the media file in which it starts."""
    start, end = times
    passed = 0.0
    for place, (name, seconds) in enumerate(media):
        last = place == len(media) - 1
        if not last and seconds is None:
            found.fault(where, f"the length of {name!r:.60} is unknown, so that times after it cannot be told")
            return
        if last or start < passed + (seconds or 0.0):
            if not last and end > passed + (seconds or 0.0):
                found.fault(where, f"{label!r:.40} goes on from one media file into the next; split it")
                return
            found.segment(video_id_of(name), (start - passed, end - passed), label, where=where)
            return
        passed += seconds or 0.0


def _time(numbered: tuple[int, Any]) -> float:
    """Return the time of an event; what is none comes first."""
    event = numbered[1]
    return float(event[0]) if isinstance(event, list) and event and _is_number(event[0]) else float("-inf")


def _seconds(value: Any) -> float | None:
    return float(value) if _is_number(value) and value > 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12
