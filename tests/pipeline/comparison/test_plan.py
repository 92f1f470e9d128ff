"""The file of a comparison: its rows, its settings, and what is refused."""

import re

import pytest

from pipeline.comparison.config import CompareConfig
from pipeline.comparison.plan import read_plan
from pipeline.errors import PipelineError
from sola.config import preset
from sola.filters import FILTERS
from tests import ROOT

SHIPPED = ROOT / "scripts" / "experiments" / "compare"


def plan(tmp_path, text: str = "", **given):
    for name in ("videos", "clips"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "annotations.json").touch()
    (tmp_path / "plan.toml").write_text(text)
    data = {"videos": tmp_path / "videos", "annotations": tmp_path / "annotations.json"}
    return read_plan(tmp_path / "plan.toml", CompareConfig(**{**data, **given}))


def test_all_rows_are_made_unless_some_are_chosen(tmp_path):
    everything = [row.key for row in plan(tmp_path).rows]
    assert everything == [
        *("standard", *FILTERS, "published", "sola", "longer", "tac", "tsp", "bsp", "bsp_alone", "pal"),
        *("end_to_end", "end_to_end_fresh"),
    ]
    assert [row.key for row in plan(tmp_path, 'rows = ["tsp", "sola"]').rows] == ["standard", "sola", "tsp"]
    assert [row.key for row in plan(tmp_path, rows=("filters",)).rows] == ["standard", *FILTERS]


def test_a_row_says_which_labels_it_sees(tmp_path):
    labels = {row.key: row.labels for row in plan(tmp_path, clips=tmp_path / "clips").rows}
    assert {labels[key] for key in ("standard", "published", "sola", "pal", *FILTERS)} == {"none"}
    assert {labels[key] for key in ("bsp", "bsp_alone", "longer")} == {"classes of clips"}
    assert {labels[key] for key in ("tac", "tsp", "end_to_end", "end_to_end_fresh")} == {"segments"}
    without = {row.key: row.labels for row in plan(tmp_path).rows}
    assert {without[key] for key in ("bsp", "longer")} == {"segments"}  # they learn from the videos then


def test_settings_of_a_method_stand_over_those_of_all(tmp_path):
    text = "[pretrain]\nepochs = 7\nbatch_size = 4\n[tsp]\nepochs = 3\n"
    tasks = plan(tmp_path, text + '[longer]\nequal_to = "tac"\n[extract]\nencoder = "x3d_s"\n').tasks
    assert [(name, config.epochs, config.task) for name, config in tasks.items()] == [
        *(("tac", 7, "tac"), ("tsp", 3, "tsp"), ("bsp", 7, "bsp"), ("pal", 7, "pal"), ("longer", 7, "classify")),
    ]
    assert {(config.batch_size, config.encoder) for config in tasks.values()} == {(4, "x3d_s")}


def test_end_to_end_has_the_snippets_of_all_rows_and_its_own_schedule(tmp_path):
    text = "[extract]\nencoder = 'x3d_s'\nstride_frames = 8\n[train]\nepochs = 9\nbatch_size = 3\n[end_to_end]\n"
    found = plan(tmp_path, text + "encoder_learning_rate = 1e-4\n[end_to_end.train]\nepochs = 2\n")
    assert (found.end_to_end.encoder, found.end_to_end.stride_frames, found.end_to_end.size) == ("x3d_s", 8, 0)
    assert found.end_to_end.encoder_learning_rate == 1e-4
    assert (found.joint_train.epochs, found.joint_train.batch_size) == (2, 3)


def test_the_published_row_is_the_preset_with_what_the_file_changes(tmp_path):
    row = next(
        row for row in plan(tmp_path, "[published]\nhidden = 8\n[sola]\nsteps = 3\n").rows if row.key == "published"
    )
    expected = preset("hacs")
    assert row.options["sola.hidden"] == 8
    assert row.options["sola.padding"] == expected.padding == "zeros"
    assert row.options["sola.kernel_sizes"] == expected.kernel_sizes
    assert row.options["sola.steps"] is expected.steps is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sead = 1", "unknown entries sead"),
        ("seeds = []", "seeds must be a list of integers"),
        ("seeds = [-1]", "seeds must be a list of integers"),
        ('rows = ["tps"]', "there is no tps; there are filters, standard"),
        ("rows = 3", "rows must be a list"),
        ("tsp = 3", "tsp must be a table"),
        ("[tsp]\nsize = 3", r"size must not be set in \[tsp\]: it is the same in all rows"),
        ("[end_to_end]\nsize = 64", r"size must not be set in \[end_to_end\]: it is the same in all rows"),
        ("[end_to_end]\nchunk_snippets = 0", "chunk_snippets must be >= 1, got 0"),
        ("[end_to_end.train]\nepocs = 1", "epocs"),
        ("[pretrain]\nepochs = 0", "epochs must be >= 1, got 0"),
        ("[sola]\nsteps = -1", "steps"),
        ('[longer]\nequal_to = "sola"', "longer.equal_to must be one of tac, tsp, bsp, pal, end_to_end, got 'sola'"),
        ('[start]\nepochs = 1\n[extract]\nencoder = "x3d_s"', r"\[start\] says which encoder"),
        ("[stitch]\nvideos = 4", r"\[stitch\] makes videos and annotations"),
    ],
)
def test_bad_entries_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(PipelineError, match=message) as refused:
        plan(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_data_that_lack_are_named(tmp_path):
    with pytest.raises(PipelineError, match=r"names no videos; add videos = PATH, --videos PATH, or a table"):
        plan(tmp_path, videos=None)
    with pytest.raises(PipelineError, match=r"clips: there is no .*nowhere"):
        plan(tmp_path, clips=tmp_path / "nowhere")
    with pytest.raises(PipelineError, match=r"\[stitch\] needs clips"):
        plan(tmp_path, "[stitch]\nvideos = 4", videos=None, annotations=None)


def test_start_weights_must_not_see_what_validation_videos_are_made_of(tmp_path):
    text = "[stitch]\nvalidation_share = 0.5\n[start]\nepochs = 1\n"
    given = {"videos": None, "annotations": None, "clips": tmp_path / "clips"}
    with pytest.raises(PipelineError, match=r"validation_share must be the same in .*, got 0.5, 0.3"):
        plan(tmp_path, text, **given)
    assert plan(tmp_path, text.replace("0.5", "0.3"), **given).start is not None


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_the_files_that_come_with_the_project_are_accepted(file, tmp_path):
    (tmp_path / "there").mkdir()
    data = {} if file.stem == "synthetic" else {"clips": tmp_path / "there"}
    if file.stem == "fall_topdown":
        data |= {"videos": tmp_path / "there", "annotations": tmp_path / "there"}
    found = read_plan(file, CompareConfig(**data))
    assert len(found.rows) == 15 and found.start is not None
    assert len(found.seeds) == (1 if file.stem == "synthetic" else 2)


def test_the_file_in_the_documentation_is_accepted(tmp_path, monkeypatch):
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "compare.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    plan(tmp_path)  # makes the data
    found = plan(tmp_path, block)
    assert found.start is not None and found.start.size == 112
    assert (found.tasks["tsp"].learning_rate, found.tasks["tsp"].epochs, found.tasks["tac"].epochs) == (1e-4, 8, 8)
    assert len(found.rows) == 8
