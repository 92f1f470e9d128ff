"""Nothing waits for the GPU while batches are queued; checked without a GPU, by fakes that record calls."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode

from encoders.catalog import CATALOG
from encoders.prepare import fold
from encoders.queue import GpuQueue
from encoders.runtime import SnippetNetwork
from sola.config import SolaConfig
from sola.fit_state import new_fit_state
from sola.fit_step import train_step
from sola.sampling import WindowBatch

WAITING = ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__")


class Waits(TorchFunctionMode):
    """Count calls that would make the processor wait if the tensor were on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in WAITING:
            self.calls[name] += 1
        if name == "to" and not (kwargs or {}).get("non_blocking") and any(isinstance(a, torch.device) for a in args):
            self.calls["blocking copy"] += 1
        return function(*args, **(kwargs or {}))


class Stream:
    """A fake GPU stream that records its calls."""

    def __init__(self, notes: list[str], name: str) -> None:
        self.notes, self.name = notes, name

    def wait_stream(self, other: Stream) -> None:
        self.notes.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> Stream:
        self.notes.append(f"mark {self.name}")
        return self

    def synchronize(self) -> None:
        self.notes.append("the processor waits")


@pytest.fixture
def notes(monkeypatch) -> list[str]:
    """Record the calls of streams; tensors stay on the CPU."""
    noted: list[str] = []
    work = Stream(noted, "work")
    empty = torch.empty

    @contextmanager
    def on(stream: Stream):
        noted.append(f"on {stream.name}")
        yield
        noted.append("on work")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(noted, "uploads"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: work)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: noted.append(f"kept for {stream.name}"))
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **options: empty(*size, **options))
    return noted


def means(snippets: torch.Tensor) -> torch.Tensor:
    return snippets.float().mean(dim=(1, 2, 3))


def means_with_a_look(snippets: torch.Tensor) -> torch.Tensor:
    features = means(snippets)
    return features * 2 if features.sum().item() < 0 else features


@pytest.mark.parametrize(("network", "waits"), [(means, 0), (means_with_a_look, 5)])
def test_queueing_batches_never_waits_and_a_look_at_a_value_is_seen(notes, network, waits):
    queue = GpuQueue(torch.device("cpu"))
    batches = [torch.randint(0, 256, (2, 4, 8, 8, 3), dtype=torch.uint8) for _ in range(5)]
    with Waits() as seen:
        begun = [queue.begin(network, batch) for batch in batches]
    assert seen.calls.total() == waits, seen.calls
    assert "the processor waits" not in notes
    for wait, batch in zip(begun, batches, strict=True):
        assert torch.equal(wait(), means(batch))
    assert notes.count("the processor waits") == 5


def test_a_batch_is_sent_beside_the_work_and_computed_when_it_is_there(notes):
    GpuQueue(torch.device("cpu")).begin(means, torch.zeros((2, 4, 8, 8, 3), dtype=torch.uint8))
    assert notes == ["on uploads", "on work", "work waits for uploads", "kept for work", "mark work"]


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_no_network_looks_at_a_value(name):
    """The meta device has no values: `.item()`, `.cpu()` and code that depends on a value raise errors."""
    entry = CATALOG[name]
    # MViT's builder may read values; its network must not.
    with torch.device("cpu" if name.startswith("mvit") else "meta"):
        network = entry.build().eval()
    folded, _ = fold(network)
    whole = SnippetNetwork(folded, entry.spec, torch.float16).to("meta")
    with torch.inference_mode():
        features = whole(torch.empty((2, *entry.spec.snippet_shape), dtype=torch.uint8, device="meta"))
    assert features.shape == (2, entry.spec.feature_dim)


def test_a_step_of_sola_fetches_what_it_measures_at_once():
    fit_state = new_fit_state(8, SolaConfig(hidden=4, predictor_hidden=4, device="cpu"))
    rows = torch.rand(3, len(fit_state.plan.positions[0]), 8)
    batch = WindowBatch(rows, torch.zeros(3, dtype=torch.int64), torch.full((3,), 23))
    with Waits() as seen:
        measures = train_step(fit_state, batch, step=1)
    assert (seen.calls["tolist"], seen.calls["item"], seen.calls["cpu"]) == (1, 0, 0)
    assert measures.least_loss < measures.loss and measures.gate == 0.0 and measures.correction_ratio == 0.0
