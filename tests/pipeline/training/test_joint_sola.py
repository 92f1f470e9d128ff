"""Heads trained together with SoLa: what each way trains, by which loss, and that the model then works as any other."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import Segment
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.heads.registry import build_head
from pipeline.heads.resize import resize_rows
from pipeline.training.batches import Batch, TrainItem, make_batch
from pipeline.training.joint_sola import (
    HeadWithSola,
    enhance_batch,
    first_layer,
    joined,
    joint_losses,
    resize_batch,
    start_fit,
    windows_of,
)
from pipeline.training.train_head import EpochReport, TrainingData, fit_head, validate
from sola.config import SolaConfig
from sola.enhance import enhance_array
from sola.fit_state import FitState
from sola.module import SolaModule
from sola.sampling import draw_epoch

WAYS = ("frozen", "unified", "unified_with_loss", "auxiliary")
JOINT = WAYS[1:]
CHANNELS = 6
# A window of 11, compared at 2, 4, 6, 8.
MODULE = SolaConfig(hidden=5, predictor_hidden=7, window_snippets=11, first_position=2, tsm_size=4, learning_rate=0.02)
HEAD = HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1, dropout=0.1)


def config(sola: str, **options) -> TrainConfig:
    defaults = {"epochs": 1, "min_steps_per_epoch": 1, "batch_size": 4, "device": "cpu", "warmup_epochs": 0}
    defaults |= {"head": HEAD, "module": MODULE, "sola": sola}
    return TrainConfig(**{**defaults, **options})


def items() -> list[TrainItem]:
    """Three videos that are longer than a window of `MODULE` and one that is shorter; features far from centered."""
    made = []
    for number, length in enumerate((30, 24, 17, 6)):
        rows = np.random.default_rng(number).normal(size=(length, CHANNELS)).astype(np.float32) + 2
        rows[2 : length // 2, number % 2] += 4
        made.append(
            TrainItem(
                video_id=str(number),
                features=rows,
                segments=[Segment((2.0, float(length // 2)), "ab"[number % 2])],
                stride_seconds=1.0,
                window_seconds=1.0,
                duration_seconds=float(length),
            )
        )
    return made


def start(settings: TrainConfig, *, gate: float = 0.3) -> tuple[HeadWithSola, FitState, Batch]:
    """Network, SoLa's fit state and batch of a first step, the module's gate opened so that it has an effect."""
    torch.manual_seed(0)
    head = build_head(CHANNELS, 2, settings.head)
    fit_state = start_fit(items(), head, settings, torch.device("cpu"))
    with torch.no_grad():
        fit_state.module.alpha.fill_(gate)
    batch = make_batch(items(), labels=("a", "b"), max_snippets=100, rng=np.random.default_rng(0))
    return joined(head, fit_state, settings), fit_state, batch


def losses_of(settings: TrainConfig, network: HeadWithSola, fit_state: FitState, batch: Batch, *, step: int = 3):
    rng = np.random.default_rng(0)
    return joint_losses(network, fit_state, batch, config=settings, step=step, rng=rng)


def cross_entropy_of_windows(z: list[torch.Tensor], predictor: torch.nn.Module, settings: SolaConfig) -> float:
    """The similarity loss by its equations, pair by pair; z are the compared rows of each window and their places."""
    total, pairs = 0.0, 0
    for rows, places in z:
        unit = rows.double() / rows.double().norm(dim=1, keepdim=True)
        predicted = predictor(unit)
        for i in range(len(unit)):
            for j in range(len(unit)):
                cosine = float(unit[i] @ predicted[j] / predicted[j].norm())
                p = (1 + cosine) / 2
                interval = abs(places[i] - places[j]) / settings.position_stride
                wanted = 1.0 if i == j else float(torch.tensor(settings.target_sharpness / interval**2).sigmoid())
                total -= wanted * np.log(p) + (1 - wanted) * np.log(1 - p)
                pairs += 1
    return total / pairs


@pytest.mark.parametrize("sola", JOINT)
def test_the_first_step_has_the_plain_heads_losses_bit_for_bit(sola: str) -> None:
    plain = fit_head(TrainingData(items(), [], ("a", "b")), config("frozen")).losses[0]
    joint = fit_head(TrainingData(items(), [], ("a", "b")), config(sola)).losses[0]
    assert {name: joint[name] for name in plain} == plain
    assert (joint.keys() - plain.keys() == {"similarity"}) is (sola != "unified")


def test_resized_sequences_go_through_the_module_before_they_are_resized() -> None:
    settings = config("unified", head=replace(HEAD, resize_snippets=16))
    network, fit_state, batch = start(settings)
    enhanced = [enhance_array(fit_state.module, item.load()) for item in items()]
    expected = torch.stack([torch.from_numpy(resize_rows(rows, 16)) for rows in enhanced])
    seen: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _head, inputs, _output: seen.append(inputs[0]))
    losses_of(settings, network, fit_state, batch)
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-5)
    plain = fit_head(TrainingData(items(), [], ("a", "b")), replace(settings, sola="frozen")).losses[0]
    joint = fit_head(TrainingData(items(), [], ("a", "b")), settings).losses[0]
    assert joint == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(("resized", "lengths"), [(16, [30, 24, 17, 6]), (0, [8, 8, 8, 6])])
def test_training_gives_the_module_whole_sequences_or_crops_never_resized_ones(monkeypatch, resized, lengths) -> None:
    seen: list[Batch] = []

    def watched(network: HeadWithSola, fit_state: FitState, batch: Batch, **rest) -> dict[str, torch.Tensor]:
        seen.append(batch)
        return joint_losses(network, fit_state, batch, **rest)

    monkeypatch.setattr("pipeline.training.train_head.joint_losses", watched)
    settings = config("unified", head=replace(HEAD, resize_snippets=resized, max_seq_len=8))
    fit_head(TrainingData(items(), [], ("a", "b")), settings)
    assert sorted(seen[0].mask.sum(dim=1).tolist()) == sorted(lengths)
    known = np.concatenate([item.load() for item in items()])
    assert all((row == known).all(axis=1).any() for row in seen[0].features[seen[0].mask].numpy())


def test_a_resized_batch_is_cropped_with_its_segments() -> None:
    _, _, batch = start(config("unified"))
    cut = resize_batch(batch, 20, limit=8, rng=np.random.default_rng(1))
    whole = resize_batch(batch, 20, limit=20, rng=np.random.default_rng(1))
    assert cut.features.shape == (4, 8, CHANNELS) and bool(cut.mask.all())
    for row in range(4):
        [begin] = [b for b in range(13) if torch.equal(whole.features[row, b : b + 8], cut.features[row])]
        kept = whole.targets[row].segments.clamp(begin - 0.5, begin + 7.5) - begin
        if len(cut.targets[row].segments):
            torch.testing.assert_close(cut.targets[row].segments, kept)


@pytest.mark.parametrize(("kernels", "dilations"), [((5, 1, 1), (1, 1, 1)), ((3, 3), (1, 2))])
def test_the_module_sees_each_sequence_of_a_batch_as_if_it_stood_alone(kernels, dilations) -> None:
    module = SolaModule(CHANNELS, replace(MODULE, kernel_sizes=kernels, dilations=dilations))
    with torch.no_grad():
        module.alpha.fill_(0.7)
    batch = make_batch(items(), labels=("a", "b"), max_snippets=100, rng=np.random.default_rng(0))
    polluted = batch.features.masked_fill(~batch.mask[..., None], float("nan"))
    out = enhance_batch(module, polluted, batch.mask)
    for row, item in enumerate(items()):
        expected = torch.from_numpy(enhance_array(module, item.load()))
        torch.testing.assert_close(out[row, : len(expected)], expected, rtol=1e-5, atol=1e-5)
        assert bool((out[row, len(expected) :] == 0).all())


@pytest.mark.parametrize("sola", ["unified", "unified_with_loss"])
def test_the_heads_loss_reaches_module_and_head(sola: str) -> None:
    settings = config(sola)
    network, fit_state, batch = start(settings, gate=0.0)
    losses = losses_of(settings, network, fit_state, batch)
    sum(value for name, value in losses.items() if name != "similarity").backward()
    assert network.module.alpha.grad.abs() > 1e-6
    assert first_layer(network.head).conv.weight.grad.abs().max() > 1e-6


def test_the_similarity_loss_of_the_module_reaches_it_and_not_the_head() -> None:
    settings = config("unified_with_loss")
    network, fit_state, batch = start(settings)
    losses_of(settings, network, fit_state, batch)["similarity"].backward()
    assert network.module.alpha.grad.abs() > 1e-6
    assert network.module.convolutions[0].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in network.head.parameters())


@pytest.mark.parametrize("kind", ["anchor_free", "gtad", "actionness"])
def test_the_auxiliary_loss_reaches_the_heads_first_layer_alone(kind: str) -> None:
    settings = config("auxiliary", head=replace(HEAD, kind=kind, embed_dim=32))
    network, fit_state, batch = start(settings)
    assert network.module is None
    losses_of(settings, network, fit_state, batch)["similarity"].backward()
    reached = {name.split(".")[0] for name, p in network.head.named_parameters() if p.grad is not None}
    assert reached == {"hidden" if kind == "actionness" else "project"}
    assert first_layer(network.head).conv.weight.grad.abs().max() > 1e-8


def test_the_similarity_loss_is_that_of_the_equations_on_windows_of_the_batch() -> None:
    settings = config("unified_with_loss", similarity_weight=0.5)
    network, fit_state, batch = start(settings)
    loss = losses_of(settings, network, fit_state, batch, step=3)["similarity"].item()
    windows = draw_epoch(np.array([30, 24, 17, 6]), MODULE, 3)
    compared = []
    with torch.no_grad():
        module, predictor = fit_state.module.double(), fit_state.predictor.double()
        for video, first in zip(windows.videos, windows.firsts, strict=True):
            rows = torch.from_numpy(items()[video].load()).double()[max(first, 0) : first + 11]
            places = [p for p in MODULE.positions if 0 <= first + p < len(items()[video].features)]
            out = module(rows[None])[0]
            compared.append((out[[p + min(first, 0) for p in places]], places))
        expected = 0.5 * cross_entropy_of_windows(compared, predictor, MODULE)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert len(compared) == 4 and {len(places) for _, places in compared} != {4}  # the short video takes part


def test_the_auxiliary_loss_is_that_of_the_equations_on_the_first_layers_output() -> None:
    settings = config("auxiliary")
    network, fit_state, batch = start(settings)
    loss = losses_of(settings, network, fit_state, batch, step=5)["similarity"].item()
    windows = draw_epoch(np.array([30, 24, 17, 6]), MODULE, 5)
    compared = []
    with torch.no_grad():
        layer, predictor = network.head.project.conv.double(), fit_state.predictor.double()
        for video, first in zip(windows.videos, windows.firsts, strict=True):
            rows = torch.from_numpy(items()[video].load()).double()
            projected = rows @ layer.weight[:, :, 0].T + layer.bias
            places = [p for p in MODULE.positions if 0 <= first + p < len(rows)]
            compared.append((projected[[first + p for p in places]], places))
        expected = cross_entropy_of_windows(compared, predictor, MODULE)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_each_step_draws_its_own_windows() -> None:
    _, fit_state, batch = start(config("unified_with_loss"))
    drawn = [windows_of(batch, fit_state, step=step).rows for step in (0, 1, 1)]
    assert not torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[1], drawn[2])


def test_a_comparison_relative_to_the_data_takes_the_training_videos_statistics() -> None:
    settings = config("unified_with_loss", module=replace(MODULE, normalize="center"))
    _, fit_state, _ = start(settings)
    every = np.concatenate([item.load() for item in items()])
    np.testing.assert_allclose(fit_state.statistics.origin, every.mean(axis=0), rtol=1e-5)
    one_only = replace(settings, statistics_videos=1)
    few = start_fit(items(), build_head(CHANNELS, 2, HEAD), one_only, torch.device("cpu"))
    assert any(np.allclose(few.statistics.origin, item.load().mean(axis=0), rtol=1e-5) for item in items())


def test_the_module_has_its_own_learning_rates() -> None:
    settings = config("unified", module=replace(MODULE, gate_learning_rate=0.125), ema_decay=0.0)
    result = fit_head(TrainingData(items(), [], ("a", "b")), settings)
    # The first step of Adam is the learning rate, whatever the gradient's size.
    assert abs(result.module.alpha.item()) == pytest.approx(0.125, rel=1e-3)
    assert (result.module_config.seed, result.module_config.steps) == (0, 1)


@pytest.mark.parametrize("sola", JOINT)
def test_resumed_training_equals_uninterrupted_training(sola: str) -> None:
    settings = config(sola, epochs=3, min_steps_per_epoch=2, batch_size=3, validate_every_epochs=1)
    saved, states = io.BytesIO(), []

    def save(report: EpochReport) -> None:
        if report.epoch == 1:
            torch.save(report.state(), saved)
        states.append(report.state())

    straight = fit_head(TrainingData(items(), items()[:2], ("a", "b")), settings, on_epoch=save)
    saved.seek(0)
    resumed = fit_head(
        TrainingData(items(), items()[:2], ("a", "b")),
        settings,
        on_epoch=save,
        resume=torch.load(saved, weights_only=True),
    )
    assert straight.losses == resumed.losses and straight.best_epoch == resumed.best_epoch
    last, again = states[2], states[-1]
    assert last["epoch"] == again["epoch"] == 3
    assert any("predictor" in name for name in last["head"]) is (sola != "unified")
    for part in ("head", "average"):
        assert all(torch.equal(value, again[part][name]) for name, value in last[part].items())
    if sola != "auxiliary":
        assert straight.module.alpha != 0
        assert torch.equal(straight.module.alpha, resumed.module.alpha)
        score = validate(straight.head, items()[:2], labels=("a", "b"), config=settings, module=straight.module)
        assert score.average == straight.best_map
