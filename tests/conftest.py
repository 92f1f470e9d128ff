"""Fixtures that several test files share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage.local import FOLDER_VARIABLE, GIGABYTES_VARIABLE
from tests.commands import command  # noqa: F401  (fixture)
from tests.remote import bucket, requests  # noqa: F401  (fixtures)

# Threads that wait must not take the cores from decoder processes; it counts only before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts its background jobs with Ctrl-C ignored; what the tests send must arrive all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.fixture(autouse=True)
def no_cache_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's --cache-folder and --cache-gigabytes go into the environment: not beyond the test."""
    for name in (FOLDER_VARIABLE, GIGABYTES_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Give each test the handlers of the start: the command line sets its own, in a fixture of a whole file too."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)
    yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real videos, annotations and features; tests that use it are marked ``real_data``."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("SOLA_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; SOLA_DATA names the folder")
    return folder
