"""Small data sets: settings that learn something, and data on which SoLa should be left out."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.stages.enhance import enhance_store
from sola.config import SolaConfig, preset
from sola.files import load_module
from sola.small_data import adapted, skip_reason
from tests.stores import make_store

PUBLISHED = SolaConfig()


def test_few_videos_get_more_windows_steps_and_a_higher_rate() -> None:
    config, said = adapted(PUBLISHED, np.full(12, 90))
    assert config == replace(
        PUBLISHED, adapt=False, steps=1000, learning_rate=1e-3, windows_per_video=6
    )  # 6 * 12 >= 64
    assert said.startswith("12 videos give 150 steps in 150 epochs, too few: steps=1000, learning_rate=0.001")
    # No more windows than there are places: 25 snippets have three.
    assert adapted(PUBLISHED, np.full(12, 25))[0].windows_per_video == 3
    assert adapted(PUBLISHED, np.full(100, 90))[0].windows_per_video == 1


@pytest.mark.parametrize(
    ("config", "videos"),
    [
        (PUBLISHED, 10_000),
        (replace(PUBLISHED, steps=200), 12),
        (replace(PUBLISHED, epochs=20), 12),
        (replace(PUBLISHED, adapt=False), 12),
        (preset("hacs"), 12),
    ],
)
def test_large_data_and_a_given_budget_stay_as_they_are(config: SolaConfig, videos: int) -> None:
    assert adapted(config, np.full(videos, 90)) == (replace(config, adapt=False), "")


def test_what_the_user_chose_stays() -> None:
    config, said = adapted(replace(PUBLISHED, learning_rate=3e-4, windows_per_video=2), np.full(12, 90))
    assert (config.steps, config.learning_rate, config.windows_per_video) == (1000, 3e-4, 2)
    assert "learning_rate" not in said and "windows_per_video" not in said


def test_data_that_can_teach_nothing_are_named_with_the_reason() -> None:
    assert skip_reason(np.full(12, 60), PUBLISHED) == ""
    assert "skip SoLa here: no video has more than 2 snippets" in skip_reason(np.full(500, 2), PUBLISHED)
    few = skip_reason(np.array([60, 60]), PUBLISHED)
    assert few == (
        "skip SoLa here: 120 snippets in all hold 5 windows of 23, too few to learn anything about other videos"
    )


def scenes(seed: int, length: int = 60, channels: int = 8) -> np.ndarray:
    """Slow changes with noise, as an encoder gives them."""
    random = np.random.default_rng(seed)
    slow = np.cumsum(random.normal(size=(length, channels)), axis=0) / 3
    return (slow + 0.3 * random.normal(size=(length, channels))).astype(np.float32)


def test_on_twelve_videos_the_defaults_leave_the_plateau_and_the_published_settings_do_not(tmp_path) -> None:
    source = make_store(tmp_path / "s", {f"v{seed:02}": scenes(seed) for seed in range(12)})
    narrow = SolaConfig(hidden=16, predictor_hidden=16, device="cpu")
    _, summary = enhance_store(source, tmp_path / "e", narrow)
    assert any("12 videos give 150 steps" in note for note in summary.notes)
    assert not any("raise" in note or "next to nothing" in note for note in summary.notes)
    assert summary.gauge is not None
    assert summary.gauge["gain_predictor"] > 0.1
    # The loss is far below that of a constant; that the predictor alone has it, the verdict says.
    assert summary.gauge["gain_features"] < summary.gauge["gain_before"]
    assert "predictor" in summary.verdict() and "skip SoLa here" in summary.verdict()
    _, config, _ = load_module(tmp_path / "e" / "sola.safetensors")
    assert (config.steps, config.adapt) == (1000, False)
    _, again = enhance_store(source, tmp_path / "e", narrow)  # the same command finds its module
    assert again.skipped == 12
    published = replace(narrow, adapt=False)
    _, summary = enhance_store(source, tmp_path / "p", published)
    assert any("next to nothing has been learned" in note for note in summary.notes)
