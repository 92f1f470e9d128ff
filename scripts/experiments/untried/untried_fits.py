"""Each fit that `compare_fits` compares: it sees all videos of a store, without labels, and returns what to do to rows.

All that are ours compare features less their mean, with the published target (K = 16) unless they say otherwise. Every
number was fixed before the first run; none was tuned.

no predictor, VICReg    no predictor; variance and covariance terms of the features, weighted 25 : 25 : 1 as published
slow directions joined  16 slow directions beside the plain features, scaled to as much variance; no module
segments, InfoNCE       rows between two change points of the self-similarity are alike, all others are not
no leak                 half of the windows change to another video at a cut; across it nothing may be alike
scales 1, 2 and 4       windows of three strides in turn
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from sola_variants import Variant, fit_variant
from torch import Tensor
from untried_losses import covariance_term, segment_infonce, slow_directions, spliced, spliced_target, variance_term

from pipeline.segmentation.change_points import find_change_points
from pipeline.segmentation.directions import directions, mean_row
from sola.config import SolaConfig
from sola.enhance import enhance_array
from sola.filters import Filter
from sola.fit import fit
from sola.fit_state import FitState, new_fit_state
from sola.fit_step import compare
from sola.sampling import (
    FeatureSource,
    WindowBatch,
    Windows,
    draw_epoch,
    lengths_of,
    read_windows,
    split_into_steps,
    steps_in_epoch,
)
from sola.similarity import similarity_loss
from sola.statistics import feature_statistics

WINDOWS = 64  # in a step, about
VARIANCE, COVARIANCE = 1.0, 1 / 25  # relative to the similarity loss
SLOW = 16
TEMPERATURE = 0.1

Transform = Callable[[np.ndarray], np.ndarray]
Loss = Callable[[FitState, Windows, WindowBatch], Tensor]


def plain(source: FeatureSource, config: SolaConfig) -> Transform:
    return lambda rows: rows


def bilateral(source: FeatureSource, config: SolaConfig) -> Transform:
    return Filter("bilateral").apply


def published(source: FeatureSource, config: SolaConfig) -> Transform:
    return of_module(fit(source, config, channels=channels_of(source)).module)


def input_aware(source: FeatureSource, config: SolaConfig) -> Transform:
    return published(source, replace(config, normalize="center", input_weight=1.0))


def vicreg(source: FeatureSource, config: SolaConfig) -> Transform:
    """Fit without a predictor; plain channels have a deviation of about 1 in the terms, whatever their unit."""
    lengths = lengths_of(source)
    rows = np.concatenate(sequences_of(source, lengths)).astype(np.float64)
    unit = float(np.sqrt(rows.var(axis=0).mean()))

    def loss(state: FitState, windows: Windows, batch: WindowBatch) -> Tensor:
        compared = compare(state, batch)
        features = (compared.x + compared.correction)[compared.inside] / unit
        similarity = similarity_loss(compared.z, compared.p, compared.target, compared.valid)
        return similarity + VARIANCE * variance_term(features) + COVARIANCE * covariance_term(features)

    return fitted(source, replace(config, normalize="center", predictor=False), loss)


def slow_joined(source: FeatureSource, config: SolaConfig) -> Transform:
    """Join the slow directions to the plain features; both parts vary as much in sum."""
    videos = sequences_of(source, lengths_of(source))
    mean, slow = slow_directions(videos, SLOW)
    scale = np.sqrt(np.concatenate(videos).astype(np.float64).var(axis=0).sum() / slow.shape[1])
    return lambda rows: np.hstack([rows, (rows - mean) @ slow * scale]).astype(rows.dtype)


def within_segments(source: FeatureSource, config: SolaConfig) -> Transform:
    """Fit by InfoNCE; a segment is what `segment` of the product finds."""
    videos = sequences_of(source, lengths_of(source))
    numbers = segment_numbers(videos)

    def loss(state: FitState, windows: Windows, batch: WindowBatch) -> Tensor:
        compared = compare(state, batch)
        places = state.plan.positions[-1].numpy() + windows.firsts[:, None]
        of_rows = [
            numbers[v][np.clip(at, 0, len(numbers[v]) - 1)] for v, at in zip(windows.videos, places, strict=True)
        ]
        inside = compared.inside
        return segment_infonce(compared.z[inside], torch.from_numpy(np.stack(of_rows))[inside], TEMPERATURE)

    return fitted(source, replace(config, normalize="center", predictor=False), loss)


def no_leak(source: FeatureSource, config: SolaConfig) -> Transform:
    """Fit with a cut to another video in every second window, at a random compared position but the first."""
    random = np.random.default_rng([config.seed, 1])

    def loss(state: FitState, windows: Windows, batch: WindowBatch) -> Tensor:
        places, positions = state.plan.positions[0], state.plan.positions[-1]
        count = len(windows)
        cuts = positions[torch.from_numpy(random.integers(1, len(positions), count))]
        whole = batch.inside(places).all(dim=1).numpy()
        following = np.roll(np.arange(count), -1)
        splice = whole & whole[following] & (windows.videos != windows.videos[following]) & (np.arange(count) % 2 == 0)
        cuts = torch.where(torch.from_numpy(splice), cuts, state.config.window_snippets)
        rows = spliced(batch.rows, batch.rows[following], places, cuts)
        compared = compare(state, replace(batch, rows=rows))
        target = spliced_target(compared.target, positions, cuts)
        return similarity_loss(compared.z, compared.p, target, compared.valid)

    return fitted(source, replace(config, normalize="center"), loss)


def scales(source: FeatureSource, config: SolaConfig) -> Transform:
    config = replace(config, normalize="center")
    return of_module(fit_variant(source, config, Variant(scales=(1, 2, 4)), channels=channels_of(source))[0])


FITS: dict[str, Callable[[FeatureSource, SolaConfig], Transform]] = {
    "plain": plain,
    "bilateral filter": bilateral,
    "SoLa, published": published,
    "SoLa, centered, input-aware": input_aware,
    "no predictor, VICReg": vicreg,
    "slow directions joined": slow_joined,
    "segments, InfoNCE": within_segments,
    "no leak": no_leak,
    "scales 1, 2 and 4": scales,
}
IDEAS = tuple(FITS)[4:]


def config_for(videos: int, *, steps: int, seed: int) -> SolaConfig:
    """Return the settings that all fits have: as published, but small and at a rate of 1e-3."""
    a_video = -(-WINDOWS // videos)
    return SolaConfig(
        hidden=64,
        predictor_hidden=64,
        steps=steps,
        learning_rate=1e-3,
        windows_per_video=a_video,
        batch_size=-(-a_video * videos // max(1, round(a_video * videos / WINDOWS))),
        adapt=False,
        device="cpu",
        seed=seed,
    )


def fitted(source: FeatureSource, config: SolaConfig, loss: Loss) -> Transform:
    """Fit a module by a loss of ours, on the windows that `sola` would draw, and return what it does."""
    statistics = feature_statistics(source, lengths_of(source), config.normalize)
    state = new_fit_state(channels_of(source), config, statistics=statistics)
    for windows, batch in batches(source, state):
        value = loss(state, windows, batch)
        state.optimizer.zero_grad()
        value.backward()
        state.optimizer.step()
    return of_module(state.module.eval())


def batches(source: FeatureSource, state: FitState) -> Iterator[tuple[Windows, WindowBatch]]:
    config, lengths = state.config, lengths_of(source)
    per_epoch = steps_in_epoch(len(lengths), config)
    for step in range(config.steps or 0):
        epoch, place = divmod(step, per_epoch)
        windows = split_into_steps(draw_epoch(lengths, config, epoch), config.batch_size)[place]
        yield (
            windows,
            read_windows(
                source,
                windows,
                state.plan.positions[0].tolist(),
                channels=state.module.channels,
                window_snippets=config.window_snippets,
                padding=config.padding,
            ),
        )


def segment_numbers(videos: list[np.ndarray]) -> list[np.ndarray]:
    """Return the number of each row's segment, [T] int64 for each video; no two videos share a number."""
    mean, numbers, first = mean_row(videos), [], 0
    for rows in videos:
        starts = np.zeros(len(rows), dtype=np.int64)
        starts[find_change_points(directions(rows, mean))] = 1
        numbers.append(first + starts.cumsum())
        first = int(numbers[-1][-1]) + 1
    return numbers


def of_module(module: torch.nn.Module) -> Transform:
    return lambda rows: enhance_array(module, rows)


def sequences_of(source: FeatureSource, lengths: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(source.rows(index, 0, int(length))) for index, length in enumerate(lengths)]


def channels_of(source: FeatureSource) -> int:
    return source.rows(0, 0, 1).shape[1]
