"""The stages of a folder of a comparison, with what each has taken, also if it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.comparison.costs import Cost, metered
from pipeline.errors import PipelineError
from pipeline.progress import Report
from pipeline.stages.run_record import Say, Stages
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import read_json
from sola.metering import counted_by

COSTS_FILE = "costs.json"
_APPLIED = ("localize", "evaluate")  # stages that train nothing; their operations do not count


class CountedStages(Stages):
    """The stages of a folder, with the cost of each in its costs.json; `worked` says whether one was done now.

    A stage that was interrupted costs the operations of one training: its checkpoint holds those up to it, and what
    came after is done and counted again. Its wall time is that of all its parts, as far as it told of them: at its
    checkpoints, and through `kept`.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        super().__init__(folder / "run.json", say)
        self._costs_file = folder / COSTS_FILE
        self._saved = _read_costs(self._costs_file)
        self._now: Callable[[], None] = lambda: None
        self.worked = False

    def do(
        self,
        name: str,
        given: Any,
        work: Callable[[], str],
        *,
        result: Path,
        clear: Callable[[], None] | None = None,
    ) -> None:
        """Do a stage as `Stages` does, and keep what it costs."""

        def counted() -> str:
            self.worked = True
            identity = self._records[name]["given"]
            before = self._saved.get(name)
            earlier = Cost()
            if before is not None and before["given"] == identity and not before["done"]:
                earlier = replace(_cost_of(before), operations=0.0)  # those that count are in the checkpoint
            with metered(counts=not name.startswith(_APPLIED)) as cost:
                part = _Part(lambda: cost().after(earlier))
                self._now = lambda: self._keep(name, part.cost(), given=identity, done=False)
                part.told = self._now
                with counted_by(part):
                    text = work()
                self._keep(name, part.cost(), given=identity, done=True)
            return text

        super().do(name, given, counted, result=result, clear=clear)

    def kept(self, report: Report) -> Report:
        """Return a report that also keeps the cost so far of the stage that runs."""

        def both(done: float, text: str) -> None:
            report(done, text)
            self._now()

        return both

    def count(self, name: str, operations: float) -> None:
        """Replace the counted operations of a finished stage by the computed ones."""
        value = self._saved[name]
        self._keep(name, replace(_cost_of(value), operations=operations), given=value["given"], done=True)

    def costs(self) -> dict[str, Cost]:
        """Return the cost of each finished stage, by name."""
        return {name: _cost_of(value) for name, value in self._saved.items() if value["done"]}

    def _keep(self, name: str, cost: Cost, *, given: str, done: bool) -> None:
        self._saved[name] = {"given": given, "done": done, **asdict(cost)}
        write_json(self._costs_file, self._saved)


class _Part:
    """A part of a stage, between two interruptions; a `Meter`.

    Args:
        measured: returns the cost so far, with the operations of this part alone.
    """

    def __init__(self, measured: Callable[[], Cost]) -> None:
        self._measured, self._before = measured, 0.0
        self.told: Callable[[], None] = lambda: None

    def cost(self) -> Cost:
        """Return the cost so far of all parts."""
        cost = self._measured()
        return replace(cost, operations=cost.operations + self._before)

    def at_checkpoint(self) -> float:
        """Keep the cost so far, and return its operations."""
        self.told()
        return self.cost().operations

    def resume(self, operations: float) -> None:
        """Count from a checkpoint on; what this part did until now is in it already."""
        self._before = operations - self._measured().operations


def _read_costs(file: Path) -> dict[str, dict[str, Any]]:
    if not file.exists():
        return {}
    value = read_json(file, what="costs of stages")
    if not isinstance(value, dict):
        raise PipelineError(f"{file} does not hold the costs of stages; remove it and the folder's run.json")
    return value


def _cost_of(value: Mapping[str, Any]) -> Cost:
    return Cost(**{name: value[name] for name in asdict(Cost())})
