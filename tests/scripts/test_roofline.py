"""The arithmetic of `scripts/bench/roofline`, and its table in the documentation."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "bench" / "roofline"


def roofline() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("roofline", str(SCRIPT))
    spec = importlib.util.spec_from_loader("roofline", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["roofline"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_bytes_are_those_of_inputs_and_outputs_and_views_are_free() -> None:
    batch, weight = torch.zeros(2, 3, device="meta"), torch.zeros(3, 5, device="meta")
    with roofline().ByteCounter(2) as moved:
        (batch @ weight).T.relu()
    assert moved.total == 2 * ((2 * 3 + 3 * 5 + 2 * 5) + (2 * 5 + 2 * 5))


def test_the_table_in_the_documentation_has_what_the_script_prints() -> None:
    command = [sys.executable, SCRIPT, "tsn_r50"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    text = (ROOT / "docs" / "speed.md").read_text()
    rows = [line for line in printed.splitlines() if line]
    assert len(rows) == 6
    assert all(row in text for row in rows)
