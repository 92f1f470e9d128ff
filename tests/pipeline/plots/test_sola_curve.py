"""Messages of a SoLa fit: warnings about the data before it and about the fit after it, and its curve."""

import json

import numpy as np

from pipeline.plots.figures import save_figure
from pipeline.plots.sola_curve import draw_curve
from pipeline.stages.enhance import enhance_store
from sola.config import SolaConfig
from sola.files import load_module, save_module
from tests.stores import make_store

SMALL = SolaConfig(hidden=8, predictor_hidden=8, steps=12, log_every_steps=5, device="cpu")


def test_equal_histories_are_equal_files(tmp_path):
    record = {"step": 1, "loss": 0.4, "gate": 0.1, "correction_ratio": 0.1, "constant_loss": 0.38}
    history = [record, {**record, "step": 2, "loss": 0.3}]
    for kind in ("png", "svg", "pdf"):
        files = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for file in files:
            save_figure(draw_curve(history), [file])
        assert files[0].read_bytes() == files[1].read_bytes()


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def test_doubts_about_the_data_are_told_before_the_fit_begins(tmp_path):
    source = make_store(tmp_path / "s", {"a": rows(5), "b": rows(4)})
    told: list[str] = []
    _, summary = enhance_store(
        source, tmp_path / "e", SMALL, on_note=told.append, report=lambda done, text: told.append(text)
    )
    begun = next(place for place, text in enumerate(told) if text.startswith("step 1/"))
    assert any("shorter than window_snippets" in text for text in told[:begun])
    assert summary.notes == [text for text in told if not text.startswith("step ") and "sequences" not in text]


def test_doubts_about_the_fit_are_told_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sola.fit.fit_warnings", lambda history, config: [f"seen {history[-1].step} steps"])
    source = make_store(tmp_path / "s", {str(seed): rows(40, seed) for seed in range(3)})
    _, summary = enhance_store(source, tmp_path / "e", SMALL)
    assert summary.notes[-1] == "seen 12 steps"
    _, again = enhance_store(source, tmp_path / "e", SMALL)
    assert again.notes == []  # nothing was fitted


def test_what_the_fit_won_is_told_before_it_after_it_and_kept_in_the_module(tmp_path):
    source = make_store(tmp_path / "s", {str(seed): rows(40, seed) for seed in range(5)})
    told: list[str] = []
    _, summary = enhance_store(source, tmp_path / "e", SMALL, on_note=told.append)
    gauge = json.loads((tmp_path / "e" / "sola_gauge.json").read_text())
    assert gauge.pop("verdict") == summary.verdict()
    assert gauge == summary.gauge
    assert f"meet none of the target (loss {gauge['loss_before']:.4f};" in told[-2] + told[-1]
    _, _, extra = load_module(tmp_path / "e" / "sola.safetensors")
    assert json.loads(extra["gauge"]) == gauge
    _, again = enhance_store(source, tmp_path / "e", SMALL)
    _, applied = enhance_store(source, tmp_path / "f", SMALL, module_file=tmp_path / "e" / "sola.safetensors")
    assert again.gauge == applied.gauge == gauge
    module, config, extra = load_module(tmp_path / "e" / "sola.safetensors")
    for name, damage in (("none", {}), ("damaged", {"gauge": "{}"}), ("other", {"gauge": "[1]"})):
        file = tmp_path / f"{name}.safetensors"
        save_module(file, module, config, damage)  # as versions without a gauge, and others, may have written it
        _, applied = enhance_store(source, tmp_path / name, SMALL, module_file=file)
        assert applied.gauge is None and applied.verdict() == ""


def test_the_curve_shows_what_the_history_holds_and_stands_beside_it(tmp_path):
    source = make_store(tmp_path / "s", {str(seed): rows(40, seed) for seed in range(3)})
    enhance_store(source, tmp_path / "e", SMALL)
    history = json.loads((tmp_path / "e" / "sola_history.json").read_text())
    assert [record["step"] for record in history] == [1, 5, 10, 12]
    figure = draw_curve(history)
    for axes, name in zip(figure.axes, ("loss", "gate", "correction_ratio"), strict=True):
        line = axes.lines[0]
        assert list(line.get_xdata()) == [1, 5, 10, 12]
        assert list(line.get_ydata()) == [record[name] for record in history]
    assert list(figure.axes[0].lines[1].get_ydata()) == [record["constant_loss"] for record in history]
    gauge = json.loads((tmp_path / "e" / "sola_gauge.json").read_text())
    figure = draw_curve(history, gauge=gauge)
    assert list(figure.axes[0].lines[2].get_ydata()) == [gauge["loss_before"], gauge["loss_features"]]
    assert figure.get_suptitle().replace("\n", " ") == gauge["verdict"]
    assert (tmp_path / "e" / "sola_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "e" / "sola_curve.svg").read_bytes().startswith(b"<?xml")
