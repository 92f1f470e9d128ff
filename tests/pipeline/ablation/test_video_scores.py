"""Class scores of whole videos name the proposals of class-agnostic heads, in each cell as in `localize`."""

import json
from dataclasses import replace

from pipeline.ablation.ablate import ablate
from pipeline.annotations.segments import PROPOSAL_LABEL
from tests.pipeline.ablation.plans import SMALL, write


def test_scores_name_what_a_cell_finds_and_other_scores_make_another_result(tmp_path, given):
    scores = tmp_path / "scores.json"
    small = SMALL.replace("[train]\n", '[train]\nclass_agnostic = true\nhead.kind = "actionness"\n').replace(
        "[train.head]\nembed_dim = 8\nlevels = 2\nstem_blocks = 1\ntower_layers = 1\n", ""
    )
    text = f'seeds = [0]\nvideo_scores = "{scores}"\n[[variants]]\nname = "plain"\nuse_sola = false\n'
    file = write(tmp_path / "plan.toml", text + small)

    def labels_with(by_label: dict[str, float]) -> set[str]:
        scores.write_text(json.dumps(dict.fromkeys("abcd", by_label)))
        (result,) = ablate(file, tmp_path / "out", replace(given, head=True), say=lambda _: None)
        assert not result.failure
        found = json.loads((tmp_path / "out" / "cells" / result.cell.name / "detections.json").read_text())
        return {one["label"] for video in found["results"].values() for one in video}

    assert labels_with({"x": 0.9, "y": 0.4}) == {"x", "y"}
    assert labels_with({"x": 0.9}) == {"x"}  # the cell is done again
    assert PROPOSAL_LABEL not in labels_with({"x": 0.9})
