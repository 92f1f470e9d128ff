"""Files of small ablations."""

from pathlib import Path

from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import read_plan

SMALL = """
[sola]
steps = 3
hidden = 4
predictor_hidden = 4
learning_rate = 0.05
device = "cpu"
[train]
epochs = 1
min_steps_per_epoch = 2
device = "cpu"
[train.head]
embed_dim = 8
levels = 2
stem_blocks = 1
tower_layers = 1
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def plan(tmp_path: Path, text: str, given: AblateConfig | None = None):
    anywhere = AblateConfig(store=(Path("s"),), annotations=Path("a.json"))
    return read_plan(write(tmp_path / "plan.toml", text), given or anywhere)
