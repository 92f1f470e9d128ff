"""How large files and functions may be, read from the source: what is larger is hard to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

PRODUCT = ("encoders", "sola", "pipeline", "scripts")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 60, 6

# Users call these themselves, and set one option at a time by its keyword.
MANY_KEYWORDS = {
    "encoders/encoder.py": "load_encoder",
    "pipeline/stages/enhance.py": "enhance_store",
    "sola/fit.py": "fit",
}
# The parameters of a command are its options, and their help is its docstring.
COMMANDS = "pipeline/commandline/commands/"


def files_of(*folders: str) -> Iterator[tuple[str, str]]:
    """Path and text of each Python file; scripts have no suffix."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if "fixtures" in path.parts or "__pycache__" in path.parts or not path.is_file():
                continue
            if path.suffix == ".py" or (path.suffix == "" and path.read_bytes().startswith(b"#!/usr/bin/env python")):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def functions_in(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, number of lines, and number of parameters without self and cls, of each function and method."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            of = node.args
            names = [one.arg for one in (*of.posonlyargs, *of.args, *of.kwonlyargs) if one.arg not in ("self", "cls")]
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1, len(names)


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    long = {name: text.count("\n") for name, text in files_of(*PRODUCT, "examples", "tests")}
    assert {name: lines for name, lines in long.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_long_or_has_many_parameters_but_those_that_are_named() -> None:
    found = []
    for file, text in files_of(*PRODUCT, "examples"):
        if file.startswith(COMMANDS):
            continue
        for name, lines, parameters in functions_in(text):
            if lines > MAX_FUNCTION_LINES:
                found.append(f"{file}: {name} has {lines} lines")
            if parameters > MAX_PARAMETERS and MANY_KEYWORDS.get(file) != name:
                found.append(f"{file}: {name} has {parameters} parameters")
    assert found == []


def test_the_named_functions_still_need_their_exception() -> None:
    for file, name in MANY_KEYWORDS.items():
        of_file = functions_in((ROOT / Path(file)).read_text(encoding="utf-8"))
        assert [parameters for found, _, parameters in of_file if found == name and parameters > MAX_PARAMETERS], file


def test_the_measure_counts_lines_and_parameters() -> None:
    source = "class A:\n    def f(self, a, /, b, *rest, c=1, **more):\n        return a\n"
    assert list(functions_in(source)) == [("f", 2, 3)]
