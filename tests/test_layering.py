"""Who may import whom: read from the source, and tried in a fresh interpreter where loading torch would be slow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import ROOT

PACKAGES = ("encoders", "sola", "pipeline")

# What a package may import beside itself and the standard library; None: anything but scripts. All may import
# pipeline.errors, the root of all errors, which imports nothing.
MAY_IMPORT: dict[str, set[str] | None] = {
    "encoders": {
        *("torch", "torchvision", "pytorchvideo", "numpy", "safetensors"),
        *("transformers", "huggingface_hub", "timm"),  # extras
    },
    "sola": {"torch", "numpy", "safetensors"},
    "pipeline": None,
    "tests": None,
}

# The rooms of the pipeline, from the ground up: a room imports rooms that stand above it in this list, never below.
ROOMS = (
    "errors",
    "text",
    "progress",
    "storage",
    "snippets",
    "cluster",
    "annotations",
    "video",
    "metrics",
    "store",
    "segmentation",
    "pretraining",
    "heads",
    "synthetic",
    "exports",
    "extraction",
    "config",
    "planning",
    "showing",
    "detection",
    "plots",
    "training",
    "stages",
    "report",
    "ablation",
    "comparison",
    "commandline",
    "cli",
    "__main__",
)

# Command-line help and the processes that decode videos load these; they must start in tens of milliseconds.
WITHOUT_TORCH = (
    "pipeline.cli",
    "pipeline.config",
    "encoders.spec",
    "sola.config",
    "pipeline.heads.config",
    *sorted(
        "pipeline.video" + ("" if path.stem == "__init__" else f".{path.stem}")
        for path in (ROOT / "pipeline" / "video").glob("*.py")
    ),
)


def imports_of(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each module that ``source`` imports anywhere, functions and strings included.

    Args:
        module: dotted name of the source; that of a package ends in ``.__init__``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            stem = [*base, node.module] if node.module else base
            yield from ((node.lineno, ".".join([*stem, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def offences(source: str, module: str) -> list[str]:
    """The imports of ``source`` that its package may not have, one line each."""
    package = module.split(".")[0]
    allowed = MAY_IMPORT[package]
    found = []
    for line, name in imports_of(source, module):
        top = name.split(".")[0]
        known = top == package or top in sys.stdlib_module_names
        shared = name == "pipeline.errors" or name.startswith("pipeline.errors.")
        if top == "scripts" or (allowed is not None and not known and not shared and top not in allowed):
            found.append(f"{module}:{line} imports {name}")
    return found


def rises(source: str, module: str) -> list[str]:
    """The imports of a module of the pipeline that go to its own floor's successors, one line each."""
    room = module.split(".")[1]
    found = []
    for line, name in imports_of(source, module):
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) < 2 or parts[1] not in ROOMS:
            continue
        if ROOMS.index(parts[1]) > ROOMS.index(room):
            found.append(f"{module}:{line} imports {name}")
    return found


def modules_of(package: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text(encoding="utf-8")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_each_package_imports_only_what_it_may_know(package: str) -> None:
    modules = list(modules_of(package))
    assert modules, f"no modules found in {package}"
    assert [offence for module, source in modules for offence in offences(source, module)] == []


def test_no_room_of_the_pipeline_knows_a_higher_one() -> None:
    modules = [(module, source) for module, source in modules_of("pipeline") if module != "pipeline.__init__"]
    assert {module.split(".")[1] for module, _ in modules} == set(ROOMS), "a room without a place in ROOMS"
    assert [rise for module, source in modules for rise in rises(source, module)] == []


def test_seven_files_stand_loose_in_the_pipeline() -> None:
    loose = {path.stem for path in (ROOT / "pipeline").glob("*.py")}
    assert loose == {"__init__", "__main__", "cli", "config", "errors", "progress", "snippets"}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_module_is_imported_without_torch(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == ""


def heavy_modules_after(statement: str) -> str:
    heavy = ("torch", "torchvision", "pytorchvideo", "ray")
    code = f"import sys\n{statement}\nprint(*[m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# --- the checkers themselves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sola.fit", "import pipeline"),
        ("sola.fit", "import os, pipeline.store.feature_store as s"),
        ("sola.fit", "from encoders.spec import EncoderSpec"),
        ("sola.fit", "import torchvision"),
        ("encoders.encoder", "from sola import config"),
        ("encoders.encoder", "def late():\n    from pipeline.storage.atomic_files import write_json"),
        ("encoders.encoder", "from importlib import import_module\nimport_module('pipeline.store.feature_store')"),
        ("encoders.__init__", "if True:\n    import av"),
        ("encoders.deep.inner", "from ... import pipeline"),
        ("pipeline.stages.run", "from scripts import quickstart"),
        ("pipeline.stages.run", "import scripts.quickstart"),
        ("tests.test_x", "import scripts"),
    ],
)
def test_the_checker_sees_a_forbidden_import(module: str, source: str) -> None:
    assert len(offences(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sola.fit", "import math, torch\nfrom sola.module import SolaModule\nfrom . import sampling"),
        ("sola.__init__", "from .module import SolaModule"),
        ("encoders.encoder", "from collections.abc import Mapping\nimport pytorchvideo.models.hub"),
        ("encoders.encoder", "pipeline = 'import pipeline'  # import sola"),
        ("pipeline.stages.run", "import encoders, sola.fit\nimport av\nfrom .store import FeatureStore"),
    ],
)
def test_the_checker_lets_a_permitted_import_pass(module: str, source: str) -> None:
    assert offences(source, module) == []


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("pipeline.video.decode", "from pipeline.stages import extract", 1),
        ("pipeline.store.spec", "def late():\n    import pipeline.extraction.encode", 1),
        ("pipeline.stages.extract", "from pipeline.store.spec import StoreSpec\nimport pipeline.stages.run", 0),
    ],
)
def test_the_checker_sees_an_import_that_rises(module: str, source: str, count: int) -> None:
    assert len(rises(source, module)) == count


def test_the_checker_sees_torch_being_loaded() -> None:
    assert heavy_modules_after("import torch").split() == ["torch"]
