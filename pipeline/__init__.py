"""The pipeline: from raw videos to located actions, and all code that touches files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.extraction.in_memory import encode_folder as encode_folder
    from pipeline.extraction.in_memory import encode_video as encode_video


def __getattr__(name: str) -> object:
    # On demand, since decoder processes and --help import this package and must not wait for torch.
    if name in ("encode_folder", "encode_video"):
        from pipeline.extraction import in_memory

        return getattr(in_memory, name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
