"""Formulas for how long a collection of videos takes on n machines, in seconds.

One machine. Its decoder processes give S snippets in S / (decode * decoders) seconds, its encoder in S / encode; files
are hashed by the way, B / hash seconds of a core, and published, N * publish. An encoder on a GPU works beside the
decoders: the slowest of them is the whole. One on the processor shares the cores with them, and what they use is added:

    on a GPU            busy = max(S / encode,  (S / decode + B / hash) / decoders,  N * publish)
    on the processor    busy = max(S / encode + (S / decode + B / hash) / cores,  the same two)

Flow, where there is any, keeps all cores for F seconds: it is added to the decoders' time, and on the processor to the
encoder's. Side by side they are slower than each alone, since they wait for each other and share caches and memory: all
but publishing is multiplied by `slowdown`, which is measured.

n machines. Each starts: it loads the encoder and lists all N videos, and looks up its N / n of them in the store. No
video is shared by two decoders; the last one to be begun may be the longest, which takes `longest` seconds. Videos that
are dealt out one by one (as Ray does) to d = n * decoders take at most

    busy / n + (1 - 1 / d) * longest                                    (Graham's bound for list scheduling)

Videos dealt out by their names (`--shard i/n`) fall on machines by chance. The sum of a machine's times t has the
variance N * (1 / n) * (1 - 1 / n) * mean(t²); of n such sums the largest lies above the mean by at most sqrt(2 ln n)
deviations, in expectation. A machine's time is not less than `longest` either.

All machines together are held up by what they share: B bytes through the network, two files a video on one file system.
However many machines there are, the job takes at least as long.

Source: R. L. Graham, Bounds for certain multiprocessing anomalies, 1966; S. Boucheron, G. Lugosi and P. Massart,
Concentration Inequalities, 2013, theorem 2.5 (largest of n variables with Gaussian tails).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FILES_A_VIDEO = 2  # array and sidecar
# What a process of `extract` keeps on disk for each of all videos: its id and path, and their indices.
LISTED_BYTES = 300


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The videos.

    Args:
        videos: N.
        seconds: of video.
        snippets: S.
        video_bytes: B, of the files.
        feature_bytes: of arrays and sidecars.
        longest_snippets: of the longest video.
        mean_square_snippets: mean over the videos of the square of their snippets.
        flow_seconds: F, for which all cores of a machine are busy with flow; 0 without.
    """

    videos: float
    seconds: float
    snippets: float
    video_bytes: float
    feature_bytes: float
    longest_snippets: float
    mean_square_snippets: float
    flow_seconds: float = 0.0

    def of_hours(self, hours: float) -> Collection:
        """Return a collection of `hours` hours of such videos, with the same longest one and variation of lengths."""
        times = hours * 3600 / self.seconds
        names = ("videos", "seconds", "snippets", "video_bytes", "feature_bytes", "flow_seconds")
        return replace(self, **{name: getattr(self, name) * times for name in names})


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine, as measured.

    Args:
        cores: of the processor.
        decoders: processes that decode side by side.
        shares_cores: whether the encoder runs on the processor.
        decode: snippets a second of one decoder process.
        encode: snippets a second of the encoder.
        hash: bytes a second that one core hashes.
        publish: seconds to publish a video's features.
        slowdown: of decoding and encoding side by side, relative to their times alone; 1 or more.
        start: seconds until the first video starts, for a single one.
        find: seconds to find one of many videos.
        look_up: seconds to look one up in the store.
    """

    cores: int
    decoders: int
    shares_cores: bool
    decode: float
    encode: float
    hash: float
    publish: float
    start: float
    find: float
    look_up: float
    slowdown: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The limits that all machines share: bytes a second of the network, files a second of the file system."""

    network: float
    files: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The time that n machines take.

    Args:
        machines: n.
        seconds: of the clock, if videos are dealt out one by one.
        sharded_seconds: the same, with `--shard`.
        machine_seconds: of all machines together, if videos are dealt out one by one.
        limits: seconds that each part of the work takes by itself; the largest is the bottleneck.
    """

    machines: int
    seconds: float
    sharded_seconds: float
    machine_seconds: float
    limits: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """Return the part of the work that takes longest."""
        return max(self.limits, key=lambda name: self.limits[name])


def stations(videos: Collection, machine: Machine) -> dict[str, float]:
    """Return one machine's seconds for each part of its work; the parts run in parallel."""
    cores_used = videos.snippets / machine.decode + videos.video_bytes / machine.hash
    decode = cores_used / machine.decoders + videos.flow_seconds
    encode = videos.snippets / machine.encode
    if machine.shares_cores:
        encode += cores_used / machine.cores + videos.flow_seconds
    slower = machine.slowdown
    return {"decode": slower * decode, "encode": slower * encode, "publish": videos.videos * machine.publish}


def with_slowdown(machine: Machine, videos: Collection, *, joint: float) -> Machine:
    """Return the machine with its slowdown, from the snippets a second of its decoders and encoder side by side.

    Args:
        machine: as measured part by part.
        videos: the collection that the measured videos belong to.
        joint: snippets a second, as measured side by side; 0 if unknown.
    """
    if not joint:
        return machine
    expected = max(stations(replace(videos, videos=0, video_bytes=0), machine).values()) / videos.snippets
    return replace(machine, slowdown=max(1.0, 1 / joint / expected))


def longest_video(videos: Collection, machine: Machine) -> float:
    """Return the seconds of the longest video on a machine that has nothing else left to do."""
    return videos.longest_snippets * max(1 / machine.decode, 1 / machine.encode)


def fixed_limits(videos: Collection, machine: Machine, shared: Shared) -> dict[str, float]:
    """Return the lower bounds in seconds for any number of machines, by their cause."""
    return {
        "longest video": longest_video(videos, machine),
        "network": videos.video_bytes / shared.network,
        "files": FILES_A_VIDEO * videos.videos / shared.files,
    }


def most_machines(videos: Collection, machine: Machine, shared: Shared) -> dict[str, float]:
    """Return for each fixed limit the number of machines that reaches it; more machines gain nothing."""
    busy = max(stations(videos, machine).values())
    return {name: busy / seconds for name, seconds in fixed_limits(videos, machine, shared).items() if seconds > 0}


def forecast(videos: Collection, machine: Machine, shared: Shared, *, machines: int) -> Forecast:
    """Return the time that `machines` machines take for the videos."""
    n, parts = machines, stations(videos, machine)
    busy, longest = max(parts.values()), longest_video(videos, machine)
    limits = {name: seconds / n for name, seconds in parts.items()}
    limits |= fixed_limits(videos, machine, shared)
    limits["start"] = machine.start
    limits["listing"] = videos.videos * machine.find + videos.videos / n * machine.look_up
    start = limits["start"] + limits["listing"]
    floor = max(limits["network"], limits["files"])
    dealt = busy / n + (1 - 1 / (n * machine.decoders)) * longest
    a_snippet = busy / videos.snippets if videos.snippets else 0.0
    variance = videos.videos * (1 / n) * (1 - 1 / n) * videos.mean_square_snippets * a_snippet**2
    fullest = max(busy / n + math.sqrt(2 * math.log(n) * variance), longest if n > 1 else 0.0)
    return Forecast(
        machines=n,
        seconds=start + max(dealt, floor),
        sharded_seconds=start + max(min(fullest, busy), floor),
        machine_seconds=n * (start + max(busy / n, floor)),
        limits=limits,
    )
