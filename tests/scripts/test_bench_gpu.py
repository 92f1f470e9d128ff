"""The GPU benchmark's own logic: a failed part becomes a row, and the summary of a trace."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from tests import ROOT

BENCH = ROOT / "scripts" / "bench"
NOTES_A_ROW = (
    "import pathlib, sys, time; sys.path.insert(0, {path!r}); from gpu_parts.rows import Rows;"
    "Rows(pathlib.Path({out!r}), 'machine').add('first', value=0.123456); {then}"
)


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    """Make the script's own modules importable."""
    monkeypatch.syspath_prepend(str(BENCH))


def rows_after(tmp_path: Path, code: str, *, seconds: int = 30, left: float = 100) -> list[dict]:
    from gpu_parts.parts import Part
    from gpu_parts.rows import read_rows
    from gpu_parts.running import _run_part

    part = Part("machine", "machine", seconds)
    options = argparse.Namespace(out=tmp_path, quick=False)
    with (tmp_path / "log.txt").open("wb") as log:
        _run_part(part, [sys.executable, "-c", code], dict(os.environ), log, options, left)
    return read_rows(tmp_path)


@pytest.mark.parametrize(
    ("then", "seconds", "reason"),
    [
        ("raise ValueError('no such card')", 30, "exit code 1: ValueError: no such card"),
        ("time.sleep(60)", 10, "not done after 10 s"),
        ("import os; os.abort()", 30, "exit code -6: no word"),
    ],
)
def test_a_part_that_fails_is_a_row_and_what_it_said_before_is_kept(tmp_path, then, seconds, reason):
    code = NOTES_A_ROW.format(path=str(BENCH), out=str(tmp_path), then=then)
    first, rest, took = rows_after(tmp_path, code, seconds=seconds)
    assert (first["row"], first["value"]) == ("first", 0.1235)
    assert rest["failed"] == reason
    assert took["row"] == "took"
    table = (tmp_path / "results.md").read_text()
    assert reason in table and "0.1235" in table


def test_a_part_that_says_nothing_or_has_no_time_is_a_row(tmp_path):
    assert rows_after(tmp_path, "pass")[0]["failed"] == "the part said nothing"
    assert "no time was left" in rows_after(tmp_path, "pass", left=3)[2]["failed"]


def test_a_trace_tells_busy_time_transfers_and_synchronizations(tmp_path):
    from gpu_parts import trace

    def event(name: str, category: str, begin: float, length: float, **arguments) -> dict:
        return {"ph": "X", "name": name, "cat": category, "ts": begin, "dur": length, "args": arguments}

    file = tmp_path / "trace.json"
    events = [
        event("conv", "kernel", 0, 100),
        event("relu", "kernel", 50, 100),  # beside the first
        event("conv", "kernel", 400, 50),
        event("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 100, 200, bytes=400_000),
        event("Memcpy DtoH (Device -> Pageable)", "gpu_memcpy", 450, 10, bytes=8),
        event("cudaStreamSynchronize", "cuda_runtime", 100, 350),
        event("cudaStreamSynchronize", "cuda_runtime", 450, 10),
        event("cudaLaunchKernel", "cuda_runtime", 0, 5),
        {"ph": "M", "name": "process_name"},
    ]
    file.write_text(json.dumps({"traceEvents": events}))
    found = trace.summary(trace.read(file), wall_seconds=1e-3, batches=2)
    assert found["gpu_busy"] == pytest.approx(0.2)  # 0 to 150 and 400 to 450 of 1000 microseconds
    assert found["kernels_ms"] == pytest.approx(0.1)
    assert found["htod_ms"] == pytest.approx(0.1)
    assert found["htod_gigabytes_a_second"] == pytest.approx(2.0)
    assert found["htod_beside_kernels"] == pytest.approx(0.25)  # 100 to 150 of 100 to 300
    assert found["cudaStreamSynchronize"] == 1
    assert trace.longest_kernels(trace.read(file), 1) == [("conv", pytest.approx(0.6), 2)]


@pytest.mark.parametrize(
    ("version", "need", "good"),
    [("18.1.0", "av>=17.1,<19", True), ("19.0", "av>=17.1,<19", False), ("17.0.9", "av>=17.1,<19", False),
     ("2.11.0+cu130", "torch>=2.6", True), ("4", "x>=4.0", True), ("26.1.0", "attrs", True)],
)  # fmt: skip
def test_what_the_machine_has_is_left_to_it_where_its_version_will_do(monkeypatch, version, need, good):
    from gpu_parts import packing

    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    assert packing._is_here(need) is good


def test_names_of_requirements_and_of_wheels_are_compared():
    from gpu_parts.packing import _name, _needs_of_project

    assert _name("docstring_parser-0.18.0-py3-none-any.whl") == _name("docstring-parser>=0.15,<4")
    assert _name("PyYAML-6.0.4-cp312.whl") == "pyyaml"
    assert {_name(need) for need in _needs_of_project()} >= {"torch", "decord", "av", "pytorchvideo", "cyclopts"}


def test_every_part_has_a_module_that_imports():
    from gpu_parts.parts import PARTS

    for module in {part.module for part in PARTS}:
        assert callable(importlib.import_module(f"gpu_parts.{module}").run)
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.mark.parametrize("name", ["decode", "encode", "metrics", "nms", "sola"])
def test_the_benchmarks_that_it_calls_import(name):
    from gpu_parts.timing import sibling

    assert callable(sibling(name).main)
