"""Make a comparison: the data, the start weights, then row after row, each step in a process of its own.

OUT/videos/                      stitched videos, if the file asks for them
OUT/start/, encoders/, cells/    see `pipeline.comparison.given`
OUT/comparison.md, …             see `pipeline.comparison.table`
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from pipeline.ablation.cell import CellResult
from pipeline.comparison.cells import cell_folder, cell_of, make_cell_of
from pipeline.comparison.counted_stages import CountedStages
from pipeline.comparison.given import Comparison
from pipeline.comparison.methods import extract_features, train_encoder
from pipeline.comparison.pace import Pace, rows_by_encoder
from pipeline.comparison.plan import Plan
from pipeline.comparison.rows import START, Row
from pipeline.errors import PipelineError, SolaPipelineError
from pipeline.pretraining.clips import find_clips, split_by_group
from pipeline.progress import progress
from pipeline.stages.stitch import ANNOTATIONS_NAME, stitch
from pipeline.storage.atomic_files import write_text
from pipeline.text.plain import counted
from pipeline.text.table import csv_text

P = ParamSpec("P")
T = TypeVar("T")
Say = Callable[[str], None]


def compare(
    plan: Plan, out: Path, *, say: Say, on_result: Callable[[Comparison, list[CellResult]], object]
) -> list[CellResult]:
    """Make all rows of a comparison, one seed after the other, and return their results.

    A row is made as soon as its encoder is there. A failed row does not stop the others. After an interruption, the
    same call resumes.

    Args:
        plan: what to compare.
        out: the folder of results.
        say: called with each line of progress.
        on_result: called with the results so far after each row that is new, and in the end.

    Raises:
        PipelineError, SolaError, EncoderError: the data or the start weights cannot be made.
    """
    given = _data(plan, out, say)
    _do(START, say, train_encoder, given, START, 0)
    work = _Work(given, say, Pace(plan.rows, len(plan.seeds)))
    results: list[CellResult] = []
    for seed in plan.seeds:
        for encoder, rows in rows_by_encoder(plan.rows):
            failure = "" if encoder == START else work.encoder(encoder, seed)
            for row in rows:
                result, is_new = work.row(row, seed, failure)
                results.append(result)
                if is_new:  # else a table of all that was there before would shrink to what was looked at again
                    on_result(given, results)
    on_result(given, results)
    return results


@dataclass(frozen=True)
class _Work:
    """Makes encoders and rows, and says how far it is."""

    given: Comparison
    say: Say
    pace: Pace

    def encoder(self, encoder: str, seed: int) -> str:
        """Train an encoder; return the reason if that fails, or ""."""
        folder = self.given.folder(encoder, seed)
        try:
            with self.pace.step("encoder", encoder) as before:
                lines = in_process(train_encoder, self.given, encoder, seed)
                if not lines:
                    before.append(_seconds(folder, ("pretrain", "train end to end")))
        except Exception as error:  # whatever it is, the other rows go on
            self.pace.skip("encoder", encoder)
            self.say(f"{encoder}, seed {seed}: failed: {_reason(error)}")
            return _reason(error)
        for line in lines:
            self.say(f"{encoder}, seed {seed}: {line} [{self.pace.text()}]")
        return ""

    def row(self, row: Row, seed: int, failure: str) -> tuple[CellResult, bool]:
        """Return the result of a row, and whether it is new; `failure` is that of its encoder."""
        cell, title = cell_of(self.given, row, seed), f"{row.title}, seed {seed}"
        if failure:
            self.pace.skip("row", row.key)
            return CellResult(cell, {}, failure), True
        try:
            with self.pace.step("row", row.key) as before:
                extracted = _do(title, self.say, extract_features, self.given, row, seed)
                scores, worked = in_process(make_cell_of, self.given, row, seed)
                if not worked:
                    before.append(_seconds(cell_folder(self.given, cell)))
        except Exception as error:
            self.pace.skip("row", row.key)
            self.say(f"{title}: failed: {_reason(error)} [{self.pace.text()}]")
            return CellResult(cell, {}, _reason(error)), True
        shown = f"mAP {100 * scores['map_own']:.1f}%, accuracy {100 * scores['accuracy']:.1f}%"
        self.say(f"{title}: {shown} [{self.pace.text()}]")
        return CellResult(cell, scores), extracted or worked


def _do(title: str, say: Say, work: Callable[P, list[str]], *arguments: P.args, **named: P.kwargs) -> bool:
    """Do a step, and return whether there was something to do."""
    lines = in_process(work, *arguments, **named)
    for line in lines:
        say(f"{title}: {line}")
    return bool(lines)


def _seconds(folder: Path, stages: tuple[str, ...] = ()) -> float:
    """Return what the finished stages of a folder have taken; `stages` are those that count, all if none is named."""
    costs = CountedStages(folder, lambda line: None).costs()
    return sum(cost.seconds for name, cost in costs.items() if not stages or name in stages)


def _reason(error: Exception) -> str:
    """Return an error as one line; errors that are not of this project's making with their kind."""
    words = " ".join(str(error).split())
    return words if isinstance(error, SolaPipelineError) else f"{type(error).__name__}: {words}"


def in_process(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what `work` returns in a fresh process, so that its peak memory is its own.

    Raises:
        PipelineError: the process was killed.
    """
    # A fork of a server that has loaded the libraries starts at once.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start_process)
    try:
        return pool.submit(work, *arguments, **named).result()
    except BrokenProcessPool:
        raise PipelineError("the process was killed, perhaps out of memory") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # the next run resumes from what the stages have saved
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    """Leave Ctrl-C to the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _data(plan: Plan, out: Path, say: Say) -> Comparison:
    """Return the plan with its data; stitch the videos if it says so."""
    out.mkdir(parents=True, exist_ok=True)
    if plan.stitch is None:
        assert plan.videos is not None and plan.annotations is not None, "a plan without them is refused"
        return Comparison(plan, out, plan.videos, plan.annotations, plan.clips)
    videos = out / "videos"
    with progress("stitch", total=1) as report:
        summary = stitch(None if plan.synthetic else plan.clips, videos, plan.stitch, report=report)
    say(f"stitch: {counted(summary.made, 'video')} made now")
    clips = None if plan.synthetic else _training_clips(plan, out)
    return Comparison(plan, out, videos, videos / ANNOTATIONS_NAME, clips)


def _training_clips(plan: Plan, out: Path) -> Path:
    """Write a list of the clips without those that validation videos are stitched of, and return it."""
    stitch, clips = plan.stitch, plan.clips
    assert stitch is not None and clips is not None
    found = find_clips(clips, group_pattern=stitch.group_pattern)
    training, _ = split_by_group(found, share=stitch.validation_share, seed=stitch.seed)
    file = out / "training_clips.csv"
    rows = [(str(clip.path), clip.label, clip.group) for clip in training]
    write_text(file, csv_text(["path", "label", "group"], rows))
    return file
