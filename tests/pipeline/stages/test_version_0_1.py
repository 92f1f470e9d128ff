"""Files that version 0.1 wrote are read, and what it has done is not done again."""

import json
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from encoders.weights import WeightsInfo
from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import read_plan
from pipeline.annotations.detections import read_detections
from pipeline.cli import main
from pipeline.cluster.config import settings_of_results
from pipeline.commandline.launch import bound_command
from pipeline.config import LocalizeConfig, TsmConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from pipeline.plots.tsm import tsm_view
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.localize import localize
from pipeline.stages.pretrain import _identity
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from pipeline.store.window_source import StoreSource
from sola.config import SolaConfig
from sola.errors import SolaError
from sola.files import load_module, write_module
from sola.fit import fit
from sola.old_names import stored_settings
from tests import ROOT

RANDOM = WeightsInfo(name="random", path=None, url=None, sha256="", random=True, seed=0)
OLD = ROOT / "tests" / "fixtures" / "version_0_1"
KNOWN = json.loads((OLD / "known.json").read_text())
# The settings in tests/fixtures/version_0_1/make, by their names of now.
SOLA = SolaConfig(
    hidden=2, kernel_sizes=(3, 1, 1), window_snippets=6, first_position=1, position_stride=1, tsm_size=4,
    target_sharpness=9.0, normalize="center", predictor_hidden=2, steps=2, device="cpu", checkpoint_every_steps=1,
    padding="zeros", adapt=False,  # the only way then
)  # fmt: skip
HEAD = HeadConfig(
    block="conv",  # the default then
    embed_dim=4,
    levels=2,
    stem_blocks=1,
    tower_layers=1,
    regression_range=3.0,
    center_sample_radius=2.0,
    max_seq_len=8,
)
TRAIN = TrainConfig(
    epochs=1,
    min_steps_per_epoch=1,
    device="cpu",
    head=HEAD,
    standardize="channel",  # the only way then, as is the padding
    module=SolaConfig(padding="zeros"),
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def digest(facts: object) -> str:
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def test_a_module_is_read_and_written_again_byte_for_byte(tmp_path):
    file = OLD / "enhanced" / "sola.safetensors"
    module, config, extra = load_module(file)
    assert config == SOLA
    write_module(tmp_path / "m.safetensors", module, config, extra)
    assert (tmp_path / "m.safetensors").read_bytes() == file.read_bytes()
    assert load_module(tmp_path / "m.safetensors")[1] == SOLA


def test_a_finished_enhanced_store_is_the_same_for_the_same_settings(old):
    store, summary = enhance_store(FeatureStore.open(old / "features"), old / "enhanced", SOLA)
    assert (summary.done, summary.skipped) == (0, 2)
    assert (store.path / "store.json").read_bytes() == (OLD / "enhanced" / "store.json").read_bytes()
    with pytest.raises(PipelineError, match=r"target_sharpness: 9.0 there, 4.0 asked for"):
        enhance_store(FeatureStore.open(old / "features"), old / "enhanced", replace(SOLA, target_sharpness=4.0))
    view = tsm_view([FeatureStore.open(old / "features"), store], "a", TsmConfig())
    assert "K = 9, step 1" in view.target_title


def test_an_unfinished_fit_goes_on(old):
    source = StoreSource(FeatureStore.open(old / "features"))
    assert len(fit(source, SOLA, channels=3, checkpoint=old / "fit.checkpoint").history) > 0
    with pytest.raises(SolaError, match=r"differ: target_sharpness \(checkpoint 9.0, now 4.0\)\. "):
        fit(source, replace(SOLA, target_sharpness=4.0), channels=3, checkpoint=old / "fit.checkpoint")


def test_a_model_is_read_and_for_run_it_is_the_same(old):
    model = load_model(OLD / "model")
    assert model.head.config == HEAD and model.head.standardize.std.min() > 0
    truth = sha256((OLD / "annotations.json").read_bytes()).hexdigest()
    assert digest([FeatureStore.open(OLD / "features").fingerprint(), truth, stored_settings(TRAIN)]) == KNOWN["train"]
    train(FeatureStore.open(OLD / "features"), OLD / "annotations.json", old / "again", TRAIN)
    again = json.loads((old / "again" / "model.json").read_text())
    before = json.loads((OLD / "model" / "model.json").read_text())
    assert again["head"] == before["head"] and again["training"]["settings"] == before["training"]["settings"]
    assert load_model(old / "again").head.config == HEAD


def test_a_store_and_a_model_give_the_detections_that_they_gave(old):
    before = read_detections(OLD / "detections.json")
    found = localize([old / "features"], load_model(old / "model"), LocalizeConfig(device="cpu")).detections
    assert {name: [d.label for d in ds] for name, ds in found.items()} == {
        name: [d.label for d in ds] for name, ds in before.items()
    }
    for video_id, detections in before.items():
        for now, then in zip(found[video_id], detections, strict=True):
            assert (*now.segment, now.score) == pytest.approx((*then.segment, then.score), abs=1e-5)


def test_what_tells_whether_a_stage_is_done_is_as_it_was():
    assert digest(stored_settings(SOLA)) == KNOWN["sola"]
    assert digest(stored_settings(EvaluateConfig(protocol="activitynet", diagnose=True))) == KNOWN["evaluate"]
    assert (
        digest(stored_settings(EvaluateConfig(protocol="activitynet", diagnose=True, tolerance_seconds=3.0)))
        != KNOWN["evaluate"]
    )
    assert _identity([], PretrainConfig(max_segment_seconds=3.0, size=112), RANDOM) == KNOWN["pretrain"]
    assert json.loads(json.dumps(stored_settings(StitchConfig(max_action_seconds=3.0)))) == KNOWN["stitch"]


@pytest.mark.parametrize("spelling", ["old", "new"])
def test_cells_of_an_ablation_keep_their_folders(tmp_path, spelling):
    text = (OLD / "ablation.toml").read_text()
    for was, now in (
        ("sola.comparison", "sola.normalize"),
        ("probe.comparison", "linear_probe.normalize"),
        ("raw", "none"),
        ("centred", "center"),
        ("sola.k", "sola.target_sharpness"),
        ("train.head.width", "train.head.embed_dim"),
    ):
        text = text.replace(was, now) if spelling == "new" else text
    text += '\n[train.head]\nblock = "conv"  # the default then\n'
    # The only ways then.
    text += '[train.module]\npadding = "zeros"\n[train]\nstandardize = "channel"\n'
    text += '[sola]\npadding = "zeros"\nadapt = false\n'
    (tmp_path / "ablation.toml").write_text(text)
    told: list[tuple[str, str]] = []
    given = AblateConfig(store=(Path("s"),), annotations=Path("a.json"))
    cells = read_plan(tmp_path / "ablation.toml", given, on_old=lambda *names: told.append(names))
    assert [cell.name for cell in cells] == KNOWN["cells"]
    assert [digest(settings_of_results(cell.config)) for cell in cells] == KNOWN["settings of cells"]
    assert list(cells[1].options) == [
        "variant",
        "sola.target_sharpness",
        "linear_probe.normalize",
        "train.head.embed_dim",
    ]
    assert cells[1].options["linear_probe.normalize"] == "center"
    assert len(told) == (5 if spelling == "old" else 0)


def test_settings_are_read_by_their_new_names_too():
    from sola.config import config_from_dict, config_to_dict

    assert config_from_dict(json.loads(json.dumps(asdict(SOLA)))) == SOLA
    assert config_from_dict(json.loads(json.dumps(config_to_dict(SOLA)))) == SOLA
    with pytest.raises(SolaError, match="give target_sharpness or k, its old name, not both"):
        config_from_dict({"k": 1.0, "target_sharpness": 1.0})


@pytest.mark.parametrize(("gate", "weight"), [("linear", 0.4), ("open", 1.0)])
def test_a_module_with_a_gate_that_is_no_more_enhances_as_it_did(tmp_path, gate, weight):
    module, config, extra = load_module(OLD / "enhanced" / "sola.safetensors")
    with torch.no_grad():
        module.alpha.fill_(0.4)
    write_module(tmp_path / "m", module, config, extra)
    content = (tmp_path / "m").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    facts = json.loads(header["__metadata__"]["sola"])
    settings = json.loads(facts["config"])
    facts["config"] = json.dumps({**settings, "gate": gate, "scales": [1, 2], "comparison": "whitened"})
    header["__metadata__"]["sola"] = json.dumps(facts)
    text = json.dumps(header).encode()
    (tmp_path / "m").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    x = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0))
    expected = x + weight * module.conv_network(x.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(load_module(tmp_path / "m")[0](x), expected, atol=1e-6)


@pytest.mark.parametrize(("value", "taken"), [("[1]", True), ("[1, 2]", False)])
def test_a_retired_option_is_taken_at_the_value_that_is_left(tmp_path, capsys, value, taken):
    (tmp_path / "c.toml").write_text(f"[sola]\nscales = {value}\ngate = 'tanh'\nhidden = 7\n")
    words = ["sola", "s", "--out", "e", "--config", str(tmp_path / "c.toml")]
    if taken:
        assert bound_command(words)[1].arguments["settings"].hidden == 7
        return
    for given in (words, ["sola", "s", "--out", "e", "--scales", "1", "2"], ["run", "--train.module.scales=1"]):
        with pytest.raises(SystemExit) as ended:
            main(given)
        assert ended.value.code == 2
        assert "scales is no option any more" in capsys.readouterr().err
