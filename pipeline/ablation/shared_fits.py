"""The order of the cells: those that can share a fitted module wait for the first of them, which fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.ablation.cell import CellResult, module_of, share_sola
from pipeline.ablation.plan import Cell

CellArguments = tuple[Cell, Path, Path, bool, Path | None]
"""The arguments of `try_cell`."""


class SharedFits:
    """Says which cells may start, now and after each result.

    Args:
        cells: all cells.
        stores: the folder of each cell's plain features, by the cell's name.
        out: the folder of the ablation.
        keep_features: see `try_cell`.
    """

    def __init__(self, cells: Sequence[Cell], stores: Mapping[str, Path], out: Path, *, keep_features: bool) -> None:
        self._stores, self._out, self._keep_features = stores, out, keep_features
        self._groups = share_sola(cells, stores)
        self._waiting: dict[str, list[Cell]] = {}  # by the name of the cell that they wait for

    def first(self) -> list[CellArguments]:
        """Return the cells that wait for no other."""
        return [self._start(group[0], None, group[1:]) for group in self._groups]

    def after(self, result: CellResult) -> list[CellArguments]:
        """Return the cells that may start after this one: with its module, or the next one, to fit it for the rest."""
        waiting = self._waiting.pop(result.cell.name)
        module = None if result.failure else module_of(result.cell, self._folder(result.cell))
        if module is not None:
            return [self._start(cell, module, []) for cell in waiting]
        return [self._start(waiting[0], None, waiting[1:])] if waiting else []

    def _start(self, cell: Cell, module: Path | None, waiting: list[Cell]) -> CellArguments:
        self._waiting[cell.name] = waiting
        return cell, self._stores[cell.name], self._folder(cell), self._keep_features, module

    def _folder(self, cell: Cell) -> Path:
        return self._out / "cells" / cell.name
