"""On a CUDA device: the same results as on the processor, and recovery when memory runs out.

SOLA_TEST_DEVICE=cpu runs the same code without a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from encoders.catalog import CATALOG
from encoders.encoder import Encoder, load_encoder
from encoders.errors import EncoderError
from encoders.runtime import lowest_cosine, synthetic_snippets
from pipeline.detection.inference import detect
from pipeline.detection.nms import suppress
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.candidates import Candidates, RowTimes
from pipeline.heads.config import HeadConfig, PostConfig, TrainConfig
from pipeline.stages.extract import extract
from pipeline.training.train_head import TrainingData, fit_head
from sola.config import SolaConfig
from sola.enhance import enhance_array
from sola.fit import fit
from sola.module import SolaModule
from tests import ROOT
from tests.pipeline.training.test_train_head import LABELS, tiny_items
from tests.videos import constant

DEVICE = os.environ.get("SOLA_TEST_DEVICE", "cuda")
ON_GPU = DEVICE.startswith("cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="no CUDA device"),
]

needs_gpu = pytest.mark.skipif(not ON_GPU, reason="of a GPU's memory")


def small_encoder(name: str, device: str, precision: str, **options) -> Encoder:
    entry = CATALOG[name]
    entry = replace(entry, spec=replace(entry.spec, short_side=112, crop_size=112))
    return load_encoder(entry, weights="random", device=device, precision=precision, **{"batch_size": 2, **options})


@pytest.mark.parametrize("name", ["i3d_r50", "tsn_r18"])
def test_features_are_those_of_the_processor(name):
    host = small_encoder(name, "cpu", "fp32")
    snippets = synthetic_snippets(host.spec, 3)
    want = host.encode(snippets)
    for precision, cosine in (("fp32", 0.99999), ("fp16", 0.999), ("bf16", 0.999)):
        try:
            encoder = small_encoder(name, DEVICE, precision)
        except EncoderError as error:
            assert "is not available" in str(error)
            continue
        found = encoder.encode(snippets)
        assert lowest_cosine(found, want) > cosine, precision
        if precision == "fp32":
            torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))


def test_features_do_not_depend_on_the_others_in_a_batch():
    encoder = small_encoder("i3d_r50", DEVICE, "auto", batch_size=4)
    snippets = synthetic_snippets(encoder.spec, 7)
    whole = encoder.encode(snippets)
    assert torch.equal(whole, encoder.encode(snippets)), "two runs differ"
    assert lowest_cosine(encoder.encode(snippets[5:6]), whole[5:6]) > 0.9999


def test_extraction_gives_the_rows_of_the_processor(tmp_path):
    videos = [constant(tmp_path / "videos" / f"{name}.mp4", 40 + 9 * name, 25, size=(96, 128)) for name in range(3)]
    stores = []
    for device in (DEVICE, "cpu"):
        config = ExtractConfig(
            encoder="tsn_r18",
            weights="random",
            device=device,
            precision="fp32",
            workers=2,
            stride_frames=8,
            batch_size=3,
        )
        store, summary = extract([tmp_path / "videos"], tmp_path / f"store{len(stores)}", config)
        assert summary.done == len(videos) and not summary.failed
        stores.append(store)
    for there, here in zip(stores[0].sequences(), stores[1].sequences(), strict=True):
        np.testing.assert_allclose(there.features, here.features, rtol=1e-3, atol=1e-3 * np.abs(here.features).max())


@needs_gpu
def test_a_full_gpu_halves_the_batch_and_the_features_stay():
    encoder = small_encoder("i3d_r50", DEVICE, "fp16", batch_size=64)
    snippets = synthetic_snippets(encoder.spec, 64)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    want = encoder.encode(snippets)
    needed = torch.cuda.max_memory_allocated() - held
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 0.4 * needed
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = encoder.encode(snippets)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert encoder.batch_size < 64
    assert "out of memory" in encoder.notes[-1]
    assert lowest_cosine(found, want) > 0.999


def test_two_processes_share_a_device():
    code = (
        "from tests.encoders.test_gpu import small_encoder, DEVICE; from encoders.runtime import synthetic_snippets;"
        "e = small_encoder('tsn_r50', DEVICE, 'fp32', batch_size=None if DEVICE != 'cpu' else 2);"
        "print(e.batch_size, e.encode(synthetic_snippets(e.spec, 5)).double().sum().item())"
    )
    root = ROOT
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert found[0][0] == found[1][0], "the batch size is not that of the card alone"
    assert float(found[0][1]) == pytest.approx(float(found[1][1]), rel=1e-4)


class Videos:
    """A source for SoLa: random walks of some lengths."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._rows = [random.normal(size=(n, 16)).cumsum(axis=0).astype(np.float32) for n in (40, 60, 23, 9, 80)]

    def __len__(self) -> int:
        return len(self._rows)

    def length(self, index: int) -> int:
        return len(self._rows[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self._rows[index][start:stop]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sola_fits_as_on_the_processor(precision):
    options = {"steps": 12, "batch_size": 4, "hidden": 32, "predictor_hidden": 32, "log_every_steps": 1}
    results = {
        device: fit(Videos(), SolaConfig(device=device.split(":")[0], precision=precision, **options), channels=16)
        for device in (DEVICE, "cpu")
    }
    for there, here in zip(results[DEVICE].history, results["cpu"].history, strict=True):
        assert there.loss == pytest.approx(here.loss, rel=1e-4 if precision == "fp32" else 2e-2)
        assert there.rank == pytest.approx(here.rank, rel=1e-3 if precision == "fp32" else 5e-2)


def test_sola_enhances_as_on_the_processor():
    torch.manual_seed(0)
    module = SolaModule(16, SolaConfig(hidden=32)).eval()
    with torch.no_grad():
        module.alpha.fill_(0.7)
    features = np.random.default_rng(0).normal(size=(2500, 16)).astype(np.float32)
    want = enhance_array(module, features)
    np.testing.assert_allclose(enhance_array(module.to(DEVICE), features), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["anchor_free", "gtad", "actionness"])
def test_a_head_detects_as_on_the_processor(kind):
    items = tiny_items()
    config = TrainConfig(
        head=HeadConfig(kind=kind, embed_dim=32, levels=4, stem_blocks=1, dropout=0.0, gtad_groups=4, gtad_samples=4),
        epochs=3, min_steps_per_epoch=10, batch_size=2, learning_rate=2e-3, device=DEVICE,
    )  # fmt: skip
    result = fit_head(TrainingData(items, [], LABELS), config)
    found = {
        device: detect(
            result.head, [items[0].load()], RowTimes(1.0, 1.0, 40.0),
            labels=LABELS, post=PostConfig(max_detections=10), device=device,
        )
        for device in (DEVICE, "cpu")
    }  # fmt: skip
    assert len(found["cpu"]) == len(found[DEVICE]) > 0
    for there, here in zip(found[DEVICE], found["cpu"], strict=True):
        assert there.score == pytest.approx(here.score, abs=2e-2)  # convolutions are in TF32 there
    assert found[DEVICE][0].segment == pytest.approx(found["cpu"][0].segment, abs=0.2)


@pytest.mark.parametrize("method", ["soft", "linear", "hard", "none"])
def test_candidates_on_the_device_are_suppressed_alike(method):
    generator = torch.Generator().manual_seed(0)
    starts = torch.rand(500, generator=generator, dtype=torch.float64) * 100
    segments = torch.stack([starts, starts + 1 + torch.rand(500, generator=generator, dtype=torch.float64) * 9], dim=1)
    labels = torch.randint(3, (500,), generator=generator)
    here = Candidates(segments, labels, torch.rand(500, generator=generator, dtype=torch.float64))
    there = Candidates(*(value.to(DEVICE) for value in (here.segments, here.labels, here.scores)))
    want = suppress(here, PostConfig(nms=method))
    found = suppress(there, PostConfig(nms=method))
    assert found.scores.device.type == torch.device(DEVICE).type
    assert torch.equal(found.labels.cpu(), want.labels)
    torch.testing.assert_close(found.segments.cpu(), want.segments)
    torch.testing.assert_close(found.scores.cpu(), want.scores)
