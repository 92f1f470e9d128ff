"""What can be learned from clips with a boundary, on moving squares: the types, from the order of the frames."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.pretraining.bsp import BspTask
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.bsp_made import MadeClips
from pipeline.pretraining.bsp_plan import TYPES
from pipeline.pretraining.config import PretrainConfig
from sola.distributed import ALONE
from tests.pipeline.pretraining.bsp_videos import SPEC, squares, write_clips

pytestmark = pytest.mark.slow

# One join for both types of two videos: published joins could be told apart without a look at the content.
CONFIG = PretrainConfig(
    task="bsp",
    batch_size=32,
    device="cpu",
    label_smoothing=0.0,
    bsp=BspConfig(join="cut", speed_ratios=(0.25, 4.0), test_clips=400),
)
SPEED = TYPES.index("different_speed")  # the first of the two types of one video; they are the last two


class TinyNetwork(nn.Module):
    """A network that sees three frames at a time, with 64 features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 16, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, stride=(1, 2, 2), padding=1),
            nn.BatchNorm3d(32),
            nn.ReLU(),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        values = self.layers((pixels.permute(0, 4, 1, 2, 3).float() / 255 - 0.5) / 0.25)
        return torch.cat([values.amax(dim=2).mean(dim=(2, 3)), values.mean(dim=(2, 3, 4))], dim=1)


def task_of(folder, *, on_a_ring: bool) -> BspTask:
    sides = [
        MadeClips(write_clips(folder / side, squares(videos=40, seed=seed, on_a_ring=on_a_ring)), SPEC, CONFIG, side)
        for seed, side in enumerate(("training", "held-out"))
    ]
    return BspTask(sides, SPEC, CONFIG, {})


def trained(task: BspTask, batches: list[tuple[Tensor, Tensor]], *, epochs: int, first: int = 0) -> TinyNetwork:
    """Train a network, and the task's classifier, on batches of pixels and types; `first` is the first type of all."""
    torch.manual_seed(0)
    network = TinyNetwork()
    task.start(network, network, torch.device("cpu"))
    optimizer = torch.optim.AdamW([*network.parameters(), *task.heads.parameters()], lr=3e-3)
    for _ in range(epochs):
        for pixels, types in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(task.heads(network(pixels))[:, first:], types - first).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def validated(task: BspTask, network: TinyNetwork) -> dict[str, float]:
    return task.validate(network)


def batches_of(task: BspTask, *, epochs: int) -> list[tuple[Tensor, Tensor]]:
    return [(batch.pixels, batch.targets["type"]) for e in range(epochs) for batch in task.batches(e, ALONE)]


def test_the_types_are_learned_and_shuffled_labels_are_not(tmp_path):
    task = task_of(tmp_path, on_a_ring=False)
    batches = batches_of(task, epochs=10)
    found = validated(task, trained(task, batches, epochs=8))
    assert found["accuracy"] > 0.8
    assert min(found[name] for name in TYPES) > 0.5
    # One network that has learned chance leans to some type; several together do not.
    by_chance = [validated(task, trained(task, shuffled(batches, seed), epochs=3))["accuracy"] for seed in range(6)]
    assert sum(by_chance) / 6 == pytest.approx(0.25, abs=0.06)


def shuffled(batches: list[tuple[Tensor, Tensor]], seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return the batches with the types of all clips mixed; mixed within a batch, its share of a type would tell."""
    types = torch.cat([types for _, types in batches])
    types = types[torch.randperm(len(types), generator=torch.Generator().manual_seed(seed))]
    pixels = [pixels for pixels, _ in batches]
    return list(zip(pixels, types.split([len(part) for part in pixels]), strict=True))


def test_without_the_order_of_the_frames_the_speeds_are_not_told_apart(tmp_path):
    task = task_of(tmp_path, on_a_ring=True)
    batches = [(pixels[types >= SPEED], types[types >= SPEED]) for pixels, types in batches_of(task, epochs=10)]
    types = torch.tensor([task._held_out.type_of(0, index) for index in range(400)])
    held_out = torch.stack([task._held_out.plain(0, index) for index in range(400) if types[index] >= SPEED])
    generator = torch.Generator().manual_seed(0)

    def accuracy(disorder) -> float:
        network = trained(task, [(disorder(pixels), of) for pixels, of in batches], epochs=8, first=SPEED)
        with torch.no_grad():
            found = task.heads(network(disorder(held_out)))[:, SPEED:].argmax(dim=1) + SPEED
        return float((found == types[types >= SPEED]).float().mean())

    def in_random_order(pixels: Tensor) -> Tensor:
        return torch.stack([clip[torch.randperm(len(clip), generator=generator)] for clip in pixels])

    assert accuracy(lambda pixels: pixels) > 0.8
    assert accuracy(in_random_order) == pytest.approx(0.5, abs=0.1)
