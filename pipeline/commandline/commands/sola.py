"""`sola` and `enhance`: features to features that know about time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, app
from pipeline.commandline.terminal import note, say
from pipeline.progress import progress
from sola.config import FilterName, SolaConfig, SolaPreset


@app.command(name="sola", sort_key=2)
def fit_sola(
    store: Location,
    /,
    *,
    out: Location,
    preset: SolaPreset | None = None,
    module: Path | None = None,
    export_reference: Path | None = None,
    settings: Annotated[SolaConfig, Flat] = SolaConfig(),
) -> int:
    """Fit SoLa on a store, without labels, and write the enhanced store.

    Ctrl-C keeps a checkpoint; the same command continues from it. Several GPUs or machines share the work under
    torchrun: torchrun --no-python --nproc-per-node 4 sola-pipeline sola STORE --out OUT. The loss is the same as with
    one process.

    Args:
        store: A feature store that `extract` wrote.
        out: The enhanced store, a folder. The module is in it as sola.safetensors.
        preset: Start from published settings (hacs: the authors' for HACS, which are the defaults too but for --padding
            zeros and --no-adapt). Other options override it.
        module: Apply this module instead of fitting one: a sola.safetensors, or a checkpoint of the method's authors
            (.pt, .pth); give its dilations by --dilations.
        export_reference: Also write the module as a checkpoint for the code of the method's authors.
    """
    from pipeline.stages.enhance import enhance_store
    from pipeline.stages.enhance import export_reference as write_reference
    from pipeline.store.feature_store import MODULE_FILE, FeatureStore
    from sola.diagnostics import at_end
    from sola.distributed import joined_team
    from sola.gauge_text import gauge_lines
    from sola.reference_checkpoint import check_reference

    if export_reference is not None and module is None:
        check_reference(settings.kernel_sizes, settings.dilations)  # before hours of work
    with joined_team(settings.device) as team, progress("sola", total=1, shown=team.is_first) as report:
        on_note = note if team.is_first else None
        enhanced, summary = enhance_store(
            FeatureStore.open(store), out, settings, module_file=module, report=report, on_note=on_note, team=team
        )
    if not team.is_first:
        return 0
    say(f"{enhanced.path}: {summary.text()}")
    if summary.history:
        losses = [record["loss"] for record in summary.history]
        gate = summary.history[-1]["gate"]
        say(f"loss {losses[0]:.4f} -> {at_end(losses):.4f}, gate tanh(alpha) {gate:.4f}")
    if summary.gauge is not None:
        for line in [*gauge_lines(summary.gauge), summary.verdict()]:
            say(line)
    if export_reference is not None:
        facts = write_reference(out / MODULE_FILE, export_reference)
        say(f"written: {export_reference}; in the authors' YAML: {facts}")
    return 0


@app.command(name="enhance", sort_key=2)
def enhance(store: Location, /, *, filter: FilterName, out: Location) -> int:
    """Write a store after a filter over time that needs no fit: the baselines that SoLa must beat.

    Heads, `linear-probe` and `localize` take it as they take the store that `sola` writes.

    Args:
        store: A feature store that `extract` wrote.
        filter: mean3 and mean5 are means of 3 and 5 snippets. bilateral averages like snippets within 8, so that it
            smooths inside segments and not across their boundaries. linear predicts each snippet from the two before
            and the two after it, with the weights that have the least squared error on this store.
        out: The filtered store, a folder.
    """
    from pipeline.stages.filter_store import filter_store
    from pipeline.store.feature_store import FeatureStore

    with progress("enhance", total=1) as report:
        filtered, line = filter_store(FeatureStore.open(store), out, filter, report=report, on_note=note)
    say(f"{filtered.path}: {line}")
    return 0
