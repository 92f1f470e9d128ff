"""The command line: exit codes, one clear line for what the user can mend, all stages in one command."""

import errno
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from encoders.catalog import CATALOG, catalog_entry
from pipeline.commandline.app import called_as
from pipeline.commandline.launch import bound_command
from pipeline.extraction.presets import FEATURE_PRESETS
from pipeline.heads.presets import preset
from tests.pipeline.stages.test_localize import write_annotations
from tests.pipeline.stages.test_stages import gray_video
from tests.stores import make_store
from tests.toys import use_toy_encoder

SMALL = ["--sola.hidden", "8", "--sola.steps", "3", "--sola.device", "cpu", "--train.epochs", "1"]
SMALL += ["--train.min-steps-per-epoch", "2", "--train.head.embed-dim", "8", "--train.head.levels", "2"]


@pytest.fixture
def videos(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    for name in ("a", "b", "c"):
        gray_video(tmp_path / "videos" / f"{name}.mp4", 30)
    write_annotations(tmp_path / "annotations.json", a="training", b="training", c="validation")
    return tmp_path / "videos"


def test_each_step_by_itself(command, videos, tmp_path):
    code, out, _ = command("extract", videos, "--out", tmp_path / "store")
    assert code == 0
    assert "3 videos done" in out
    code, out, _ = command("sola", tmp_path / "store", "--out", tmp_path / "enhanced", "--hidden", 8, "--steps", 3)
    assert code == 0
    assert "3 sequences enhanced" in out
    small = ["--epochs", 1, "--min-steps-per-epoch", 2, "--head.embed-dim", 8, "--head.levels", 2]
    annotations = tmp_path / "annotations.json"
    train = ("train", tmp_path / "enhanced", "--annotations", annotations, "--out", tmp_path / "model", *small)
    assert command(*train)[0] == 0
    detections = tmp_path / "detections.json"
    localize = ("localize", videos / "c.mp4", "--model", tmp_path / "model", "--out", detections)
    assert command(*localize)[0] == 0
    assert list(json.loads(detections.read_text())["results"]) == ["c"]
    result = tmp_path / "evaluation.json"
    code, out, _ = command("evaluate", detections, "--annotations", annotations, "--out", result)
    assert code == 0
    assert "brighter" in out
    assert set(json.loads(result.read_text())["activitynet"]["per_class"]) == {"brighter"}
    assert command("verify", tmp_path / "store", "--deep")[0] == 0


def test_run_does_all_stages_and_the_second_time_none(command, videos, tmp_path):
    words = ("run", "--videos", videos, "--annotations", tmp_path / "annotations.json", "--out", tmp_path / "out")
    words += ("--baseline", *SMALL)
    code, out, _ = command(*words)
    assert code == 0
    for stage in ("extract", "sola", "train with SoLa", "localize with SoLa", "evaluate with SoLa"):
        assert f"\n{stage}: " in f"\n{out}"
    assert (tmp_path / "out" / "evaluation.json").is_file()
    assert (tmp_path / "out" / "baseline" / "evaluation.json").is_file()
    code, out, _ = command(*words)
    assert code == 0
    assert "3 were done before" in out
    assert out.count("unchanged, skipped") == 7
    code, out, _ = command(*words, "--train.seed", 1)
    assert out.count("unchanged, skipped") == 1  # SoLa; what comes after training changes with it
    code, out, _ = command(*words, "--train.seed", 1, "--sola.seed", 1)
    assert "sola: module fitted on 3 sequences" in out
    assert "train without SoLa: unchanged, skipped" in out


def test_run_takes_its_settings_from_a_file_and_options_win(command, videos, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(f'videos = ["{videos}"]\nout = "{tmp_path / "out"}"\n[sola]\nhidden = 8\nsteps = 3\n')
    code, out, _ = command("run", file, "--sola.steps", 2)
    assert code == 0
    history = json.loads((tmp_path / "out" / "enhanced" / "sola_history.json").read_text())
    assert history[-1]["step"] == 2
    assert "no annotations" in out


def test_a_failed_video_gives_exit_code_1_and_is_listed(command, videos, tmp_path):
    (videos / "bad.mp4").write_text("no video")
    code, out, err = command("extract", videos, "--out", tmp_path / "store")
    assert code == 1
    assert "3 videos done, 0 were done before, 1 failed (unreadable 1)" in out
    assert "failed: bad: unreadable" in err
    code, _, _ = command("verify", tmp_path / "store", "--videos", videos)
    assert code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract", "{}/none", "--out", "{}/s"], "none"),
        (["extract", "{}", "--out", "{}/s", "--stride-seconds", "0"], "--stride-seconds must be > 0, got 0"),
        (["extract", "{}", "--out", "{}/s", "--shard", "3/2"], "--shard must be i/n"),
        (["sola", "{}", "--out", "{}/e"], "is not a feature store"),
        (["sola", "{}", "--out", "{}/e", "--kernel-sizes", "4", "1", "1"], "--kernel-sizes must be odd"),
        (["train", "{}", "--annotations", "{}/a.json", "--out", "{}/m"], "is not a feature store"),
        (["localize", "{}", "--model", "{}/m", "--out", "{}/d.json"], "is not a trained model"),
        (["evaluate", "{}/d.json", "--annotations", "{}/a.json"], "no file"),
        (["verify", "{}"], "is not a feature store"),
        (["annotations", "{}/a.json"], "a.json"),
        (["run", "{}/settings.toml"], "settings: no file"),
        (["unknown"], "Unknown command"),
        (
            ["localize", "{}", "--model", "{}/m", "--out", "{}/d.xml"],
            "--out must end in .json or .csv or .jsonl or .srt or .vtt or .eaf, got",
        ),
        (["localize", "{}", "--model", "{}/m", "--out", "{}/d"], "--out must end in .json or .csv or .jsonl or"),
        (["evaluate", "{}/d.json", "--annotations", "{}/a.json", "--out", "{}/e.csv"], "--out must end in .json, got"),
        (["linear-probe", "{}", "--annotations", "{}/a.json", "--out", "{}/p.csv"], "--out must end in .json, got"),
        (["extract", "{}", "--out", "{}/s", "--no-such"], "--no-such"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, tmp_path, words, message):
    code, _, err = command(*[word.format(tmp_path) for word in words])
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_annotation_file_without_videos_is_refused_and_labels_of_two_cases_are_named(command, tmp_path):
    (tmp_path / "none.json").write_text('{"database": {}}')
    code, _, err = command("annotations", tmp_path / "none.json")
    assert code == 2 and "it has no videos" in err
    segments = [{"segment": [i, i + 1], "label": label} for i, label in enumerate(("Run", "run", "RUN", "jump"))]
    truth = {"database": {"a": {"subset": "training", "duration": 9, "annotations": segments}}}
    (tmp_path / "a.json").write_text(json.dumps(truth))
    code, out, _ = command("annotations", tmp_path / "a.json")
    assert code == 0
    assert "1 group of labels that differ only in case or spaces, taken as classes of its own (RUN / Run / run)" in out


@pytest.mark.parametrize("other", ["high  jump", "high\u00a0jump", "high_jump", "High Jump", "high\tjump"])
def test_labels_that_look_the_same_are_named(command, tmp_path, other):
    segments = [{"segment": [i, i + 1], "label": label} for i, label in enumerate(("high jump", other, "run"))]
    truth = {"database": {"a": {"subset": "training", "duration": 9, "annotations": segments}}}
    (tmp_path / "a.json").write_text(json.dumps(truth))
    assert "1 group of labels that differ only in case or spaces" in command("annotations", tmp_path / "a.json")[1]


def test_sola_names_the_gate_and_the_loss_of_the_note(command, tmp_path):
    random = np.random.default_rng(0)
    make_store(tmp_path / "s", {str(i): random.normal(size=(40, 6)).astype(np.float32) for i in range(3)})
    words = ("--hidden", 8, "--steps", 30, "--log-every-steps", 1)
    code, out, err = command("sola", tmp_path / "s", "--out", tmp_path / "e", *words)
    assert code == 0 and "gate tanh(alpha) " in out
    (last,) = re.findall(r"^loss .* -> (\d\.\d+)", out, flags=re.MULTILINE)
    assert f"the loss is {last}" in err
    assert "--learning-rate" in err and "learning_rate" not in err


def test_two_videos_of_one_name_are_refused_unless_ids_are_paths(command, videos, tmp_path):
    gray_video(videos / "below" / "a.mp4", 12)
    code, _, err = command("extract", videos, "--out", tmp_path / "store")
    assert code == 2
    assert "below" in err
    assert command("extract", videos, "--out", tmp_path / "store", "--ids", "path")[0] == 0


def test_unknown_encoder_names_the_nearest(command, tmp_path):
    gray_video(tmp_path / "a.mp4", 10)
    code, _, err = command("extract", tmp_path, "--out", tmp_path / "s", "--encoder", "i3d_r5")
    assert code == 2
    assert "i3d_r50" in err


def test_cuda_asked_for_and_absent_is_refused(command, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    gray_video(tmp_path / "a.mp4", 10)
    words = ("--encoder", "tsn_r50", "--weights", "random", "--device", "cuda")
    code, _, err = command("extract", tmp_path, "--out", tmp_path / "s", *words)
    assert code == 2
    assert "cuda" in err
    assert not (tmp_path / "s").exists()


def test_absent_weights_name_url_file_and_folder(command, tmp_path, monkeypatch):
    gray_video(tmp_path / "a.mp4", 10)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    # As without a network; the real way to it is tested with the encoders.
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    code, _, err = command("extract", tmp_path, "--out", tmp_path / "s", "--encoder", "i3d_r50")
    assert code == 2
    for part in ("https://", "I3D_8x8_R50.pyth", str(tmp_path / "hub")):
        assert part in err


def test_a_full_disk_is_one_line_and_leaves_no_half_file(command, videos, tmp_path, monkeypatch):
    def full(self, details):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("pipeline.store.feature_store.SequenceWriter.commit", full)
    code, _, err = command("extract", videos, "--out", tmp_path / "store")
    assert code == 2
    assert "free some space" in err
    assert list((tmp_path / "store" / "features").iterdir()) == []


def test_an_interrupted_job_exits_with_130(command, videos, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.stages.extract.FeatureStore.writer", interrupt)
    code, _, err = command("extract", videos, "--out", tmp_path / "store")
    assert code == 130
    assert "goes on from there" in err


def test_progress_is_silent_where_nobody_looks(command, videos, tmp_path):
    assert not sys.stderr.isatty()
    _, _, err = command("extract", videos, "--out", tmp_path / "store")
    assert err == f"next: {called_as(sys.argv[0])} sola {tmp_path / 'store'} --out enhanced/\n"


def test_encoders_are_listed_with_dimension_window_and_weights(command):
    code, out, _ = command("encoders")
    assert code == 0
    assert "i3d_r50" in out
    assert "2048" in out
    assert "64 at 30 fps = 2.133 s" in out


def settings_of(*words: object):
    """Return the settings that a command line stands for."""
    return bound_command([str(word) for word in words])[1].arguments["settings"]


def test_a_preset_gives_the_settings_that_other_words_do_not(tmp_path):
    words = ("train", tmp_path, "--annotations", tmp_path / "a.json", "--out", tmp_path / "m")
    (tmp_path / "s.toml").write_text("[train]\nbatch_size = 3\n")
    taken = settings_of(*words, "--preset", "thumos14", "--config", tmp_path / "s.toml", "--head.levels", 2)
    expected = preset("thumos14")
    assert taken.epochs == expected.epochs != 30
    assert (taken.batch_size, taken.head.levels) == (3, 2)
    assert taken.head.block == expected.head.block
    assert settings_of(*words, "--head", "gtad").head.kind == "gtad"


@pytest.mark.parametrize("name", FEATURE_PRESETS)
def test_a_preset_of_features_gives_a_plan_of_the_stated_windows_and_strides(tmp_path, name):
    words = ("extract", tmp_path, "--out", tmp_path / "s", "--preset", name)
    settings = settings_of(*words)
    plan = settings.plan(catalog_entry(settings.encoder).spec)
    assert plan.window_frames == 16
    assert settings.streams == ("rgb" if name == "tsp" else "rgb,flow")
    rate = {"thumos14-i3d": None, "activitynet-tsn": None, "activitynet-i3d": 25, "hacs-i3d": 30, "tsp": 15}[name]
    assert plan.fps == rate
    assert plan.stride_frames == {"thumos14-i3d": 4, "hacs-i3d": 15}.get(name, 16)
    if settings.weights != "kinetics400":
        assert settings.weights in CATALOG[settings.encoder].published
    other = settings_of(*words, "--stride-frames", 8, "--dtype", "float16")
    assert (other.stride_frames, other.dtype, other.encoder) == (8, "float16", settings.encoder)
    other = settings_of(*words, "--fps", 20, "--stride-seconds", 0.5)
    assert (other.stride_frames, other.stride_seconds, other.window_frames) == (None, 0.5, 16)


def test_run_takes_presets_of_features_and_of_training_side_by_side(command, tmp_path):
    words = ("run", "--videos", tmp_path, "--out", tmp_path / "o", "--preset", "thumos14")
    words += ("--annotations", tmp_path / "a.json")
    taken = settings_of(*words, "--extract-preset", "thumos14-i3d", "--extract.weights", "random")
    assert (taken.extract.fps, taken.extract.stride_frames, taken.extract.weights) == ("video", 4, "random")
    assert taken.train == preset("thumos14")
    assert (taken.train.validation_subset, taken.evaluate.subset) == ("test", "test")
    assert command(*words, "--extract-preset", "thumos")[0] == 2


def test_the_preset_of_sola_is_its_published_settings_and_other_words_win(command, tmp_path):
    from sola.config import SolaConfig

    words = ("sola", tmp_path, "--out", tmp_path / "e", "--preset", "hacs")
    (tmp_path / "s.toml").write_text("[sola]\nk = 4.0\n")
    taken = [settings_of(*words), settings_of(*words, "--steps", 7, "--config", tmp_path / "s.toml")]
    published = SolaConfig(padding="zeros", adapt=False)
    assert taken == [published, replace(published, steps=7, target_sharpness=4.0)]
    assert command("sola", tmp_path, "--out", tmp_path / "e", "--preset", "other")[0] == 2
