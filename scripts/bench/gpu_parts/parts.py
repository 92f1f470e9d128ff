"""The parts by name, the most important first, and their time limits in seconds."""

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from gpu_parts.rows import Rows


@dataclass(frozen=True)
class Part:
    """A function `module.run(options, rows, *arguments)` that runs in a process of its own.

    Args:
        name: for --only and in the results.
        seconds: time limit; `quick_seconds` with --quick.
        quick: whether it runs with --quick too; one compiled encoder is enough to see that compiling runs.
    """

    name: str
    module: str
    seconds: int
    quick_seconds: int = 60
    arguments: tuple[str, ...] = ()
    quick: bool = True


PARTS = (
    Part("machine", "machine", 45),
    Part("correctness", "correctness", 100),
    Part("tests", "gpu_tests", 80),
    Part("encode-i3d_r50", "encoding", 60, arguments=("i3d_r50",)),
    Part("profile", "profiling", 50),
    Part("extract", "extraction", 110),
    Part("encode-i3d_inception", "encoding", 50, arguments=("i3d_inception",)),
    Part("encode-tsn_r50", "encoding", 45, arguments=("tsn_r50",)),
    Part("sola", "sola_fit", 60),
    Part("encode-r2plus1d_34", "encoding", 50, arguments=("r2plus1d_34",)),
    Part("encode-mvit_base_16x4", "encoding", 50, arguments=("mvit_base_16x4",)),
    Part("heads", "heads", 60),
    Part("pretext-tsp", "pretext", 60, arguments=("tsp",)),
    Part("pretext-bsp", "pretext", 60, arguments=("bsp",)),
    Part("pretext-pal", "pretext", 60, arguments=("pal",)),
    Part("memory", "memory", 40),
    Part("end-to-end", "end_to_end", 90),
    Part("sharing", "sharing", 70),
    Part("compile-i3d_r50", "compiling", 90, arguments=("i3d_r50",), quick=False),
    Part("compile-tsn_r50", "compiling", 80, quick_seconds=90, arguments=("tsn_r50",)),
    Part("compile-mvit_base_16x4", "compiling", 90, arguments=("mvit_base_16x4",), quick=False),
    Part("compile-i3d_inception", "compiling", 90, arguments=("i3d_inception",), quick=False),
    Part("compile-r2plus1d_34", "compiling", 90, arguments=("r2plus1d_34",), quick=False),
)


def shrink_pictures() -> None:
    """Halve the sides of the encoders' pictures, in this process; MViT has weights for each place of its own size."""
    from encoders.catalog import CATALOG

    for name, entry in CATALOG.items():
        if not name.startswith("mvit"):
            side = entry.spec.crop_size // 2
            CATALOG[name] = replace(entry, spec=replace(entry.spec, short_side=side, crop_size=side))


def names() -> list[str]:
    return [part.name for part in PARTS]


def run_here(name: str, options: argparse.Namespace) -> None:
    """Run one part in this process."""
    if options.quick:
        shrink_pictures()
    part = next(part for part in PARTS if part.name == name)
    run: Callable[..., None] = importlib.import_module(f"gpu_parts.{part.module}").run
    run(options, Rows(options.out, part.name), *part.arguments)
