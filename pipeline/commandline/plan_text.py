"""A plan as text."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.planning.plan import Plan
from pipeline.planning.plan_model import FILES_A_VIDEO, LISTED_BYTES, most_machines, stations
from pipeline.text.table import duration, table_text

_REMEDIES = {
    "decode": "more cores a machine, or smaller videos",
    "encode": "a faster encoder or GPU, or a longer stride",
    "publish": "a faster disk",
    "longest video": "cut the longest videos, or take fewer machines",
    "network": "copies of the videos nearer to the machines, or smaller videos",
    "files": "several stores, one for each file system or part of the videos",
    "start": "fewer machines: loading the encoder takes longer than a machine's share of the work",
    "listing": "a list of videos for each machine, and a store for each: finding all takes longer than its share",
}
_MUCH_ROOM = 1e9
_MANY_FILES = 1e7  # in one folder; from about here on file systems refuse more, or take long over each


def plan_table(result: Plan) -> str:
    """Return the forecasts, a row for each number of machines."""
    rows = [
        [
            f"{one.machines}",
            duration(one.seconds),
            duration(one.sharded_seconds),
            f"{one.machine_seconds / 3600:,.1f}",
            one.bottleneck,
        ]
        for one in result.forecasts
    ]
    header = ["machines", "dealt one by one", "with --shard", "machine hours", "held up by"]
    return table_text("Time of the clock", header, rows)


def plan_lines(result: Plan) -> Iterator[str]:
    """What there is to do, what was measured, and what is assumed."""
    videos, machine, shared = result.collection, result.machine, result.shared
    margin = f" ± {result.margin:.0%}" if 0 < result.margin < float("inf") else ""
    yield (
        f"{videos.seconds / 3600:,.2f} h of video in {_counted(videos.videos, 'file')}, "
        f"{videos.video_bytes / 1e9:,.2f} GB; {_counted(videos.snippets, 'snippet')}{margin}, "
        f"{videos.feature_bytes / 1e9:,.2f} GB of features in {_counted(FILES_A_VIDEO * videos.videos, 'file')}"
    )
    where = "on the processor" if machine.shares_cores else "on GPU"
    yield (
        f"this machine, measured: {machine.decode:.1f} snippets/s a decoder process, {machine.decoders} of them on "
        f"{_counted(machine.cores, 'core')}; {machine.encode:.1f} snippets/s encoded {where}; both take "
        f"{machine.slowdown:.2f} times as long together; {machine.publish * 1e3:.1f} ms to publish a video; "
        f"{machine.hash / 1e6:.0f} MB/s hashed a core; {machine.start:.1f} s to start"
    )
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in stations(videos, machine).items())
    yield f"work of one machine, side by side: {parts}"
    yield (
        f"assumed: machines like this one, videos like these, {shared.network * 8 / 1e9:g} Gbit/s and "
        f"{shared.files:g} files/s for all together; longest video {videos.longest_snippets:,.0f} snippets"
    )


def plan_advice(result: Plan) -> Iterator[str]:
    """What holds the job up, what would help, and what would break first if there were more of all."""
    for name in dict.fromkeys(one.bottleneck for one in result.forecasts):
        yield f"{name}: what would help: {_REMEDIES[name]}"
    most = most_machines(result.collection, result.machine, result.shared)
    ordered = sorted(most.items(), key=lambda item: item[1])
    yield "more machines gain nothing beyond: " + ", ".join(f"{count:,.0f} ({name})" for name, count in ordered)
    listed = LISTED_BYTES * result.collection.videos
    if listed > _MUCH_ROOM:
        yield (
            f"each process lists all videos, {listed / 1e9:,.1f} GB in its temporary folder: give each machine a list "
            "of its own (a text file of paths)"
        )
    files = FILES_A_VIDEO * result.collection.videos
    if files > _MANY_FILES:
        yield f"a store is one folder, here of {files:,.0f} files: make several stores, one for each list"


def _counted(number: float, thing: str) -> str:
    return f"{number:,.0f} {thing}" + ("" if round(number) == 1 else "s")
