"""Files that commands write: the name's suffix says what they hold."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import PipelineError


def require_suffix(out: Path, *accepted: str) -> None:
    """Refuse a file whose name promises what the command does not write, before any work is done.

    Raises:
        PipelineError: another suffix than the accepted ones, or none.
    """
    if out.suffix.lower() not in accepted:
        raise PipelineError(f"--out must end in {' or '.join(accepted)}, got {out}")
