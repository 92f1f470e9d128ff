"""Re-run a script in the project's environment if the current Python lacks packages, or say what to run."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def enter(*packages: str) -> None:
    """Return if the project's packages and these are installed; otherwise re-run in .venv, or exit with one line.

    Args:
        packages: what the script needs beyond the project's own dependencies.
    """
    missing = [name for name in ("numpy", "torch", "av", *packages) if find_spec(name) is None]
    if not missing:
        return
    own = ROOT / ".venv" / "bin" / "python"
    if own.is_file() and Path(sys.prefix) != ROOT / ".venv":
        os.execv(own, [str(own), *sys.argv])
    print(
        f"error: {sys.prefix} has no {', '.join(missing)}; run scripts/test once, which puts what tests and benchmarks "
        "need into the active environment, or into .venv",
        file=sys.stderr,
    )
    sys.exit(2)
