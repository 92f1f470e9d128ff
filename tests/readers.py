"""The readers of files, each with files that it can read."""

import contextlib
import csv
import hashlib
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from encoders.errors import EncoderError
from encoders.layouts import Layout, load_into, recognize, unwrap
from encoders.trained import carried_spec, save_trained
from encoders.weights import read_file
from pipeline.annotations import adopt_ids, fit_to_durations, read_annotations, summary
from pipeline.annotations.detections import read_detections, read_external_data
from pipeline.detection.model import TrainedHead, load_model, save_model
from pipeline.detection.video_scores import read_video_scores, scores_for
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, ImportConfig, export, import_export, import_features
from pipeline.heads.config import HeadConfig, PostConfig
from pipeline.heads.registry import build_head
from pipeline.pretraining.clips import find_clips
from pipeline.storage.read_files import read_toml
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
from pipeline.store.tools.verify import verify_store
from sola.checkpoint import load_checkpoint, save_checkpoint
from sola.config import SolaConfig
from sola.errors import SolaError
from sola.files import load_module, save_module
from sola.module import initial_networks
from sola.reference_checkpoint import load_reference, save_reference
from tests import tool_files
from tests.stores import annotate, make_store
from tests.toys import TOY_SPEC

OWN = (PipelineError, EncoderError, SolaError)
SOLA = SolaConfig(hidden=4, kernel_sizes=(3, 1, 1), dilations=(1, 1, 1), window_snippets=300)
IMPORT = ImportConfig(fps=30, stride_frames=4, window_frames=16)
SEGMENTS = [(0.5, 1.0, "run"), (1.0, 1.5, "jump")]


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Args:
        make: writes valid files into a folder.
        read: reads them again.
        damage: the files that are damaged, by glob; JSON is changed by its parts as well.
        mend: makes hashes fit again, so that what lies behind them is reached.
    """

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    damage: tuple[str, ...]
    mend: Callable[[Path], Any] = lambda folder: None
    cases: int = 150


def arrays(folder: Path) -> FeatureStore:
    rng = np.random.default_rng(0)
    return make_store(folder / "store", {name: rng.normal(size=(4, 3)).astype(np.float32) for name in ("a", "b/ü")})


def write(path: Path, value: Any) -> None:
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def make_activitynet(folder: Path) -> None:
    annotate(folder / "a.json", {"a": ("training", 2.0, SEGMENTS), "v_b": ("validation", 2.0, SEGMENTS)})
    value = json.loads((folder / "a.json").read_text())
    for entry in value["database"].values():
        entry |= {"fps": 25, "frame": "50"}
        for label_id, item in enumerate(entry["annotations"]):
            item["label_id"] = label_id
    write(folder / "a.json", value)


def make_bsn(folder: Path) -> None:
    entry = {"duration_second": 2.0, "duration_frame": 50, "annotations": [{"segment": [0, 1], "label": "run"}]}
    write(folder / "a.json", {"a": entry, "b": entry})
    write(folder / "video_info_new.csv", 'video,subset\na,training\n"b",validation\n')


def make_thumos(folder: Path) -> None:
    write(folder / "Run_val.txt", "video_validation_0000001 0.5 1.5\nvideo_validation_0000002  1 2\n")
    write(folder / "Jump_test.txt", "video_test_0000001 0.5 1.5\n")


def read_truth(folder: Path) -> None:
    file = folder / "a.json"
    found = read_annotations(file if file.exists() else folder)
    summary(found).lines()
    adopted = adopt_ids(found, ["a", "b"])
    fit_to_durations(adopted, {"a": 2.0})


def make_detections(folder: Path) -> None:
    items = [{"segment": [0, 1.5], "label": "run", "score": 0.5}, {"segment": ["1", "2"], "label": 3, "score": 1}]
    write(folder / "d.json", {"version": "1", "results": {"a": items, "b": []}, "external_data": {"x": 1}})


def make_scores(folder: Path) -> None:
    write(folder / "s.json", {"results": {"a": [0.5, 0.1], "v_b": [0.1, 2]}, "class": ["run", "jump"]})
    write(folder / "t.json", {"a": {"run": 0.5}, "b": {"jump": 1}})
    np.save(folder / "n.npy", np.ones((2, 2), np.float32))
    write(folder / "n.videos.txt", "a\nb\n")
    write(folder / "n.labels.txt", "run\njump\n")


def read_scores(folder: Path) -> None:
    for name in ("s.json", "t.json", "n.npy"):
        with_own_errors(lambda name=name: scores_for(read_video_scores(folder / name), ["a", "b"]))


def read_store(folder: Path) -> None:
    store = FeatureStore.open(folder / "store")
    verify_store(store, deep=True)
    store.fingerprint(), store.failed_ids(), [store.failure(name) for name in store.failed_ids()]
    for video_id in store.ids():
        with_own_errors(lambda video_id=video_id: (store.read(video_id).duration_seconds, store.read(video_id).plan))


def make_store_files(folder: Path) -> None:
    arrays(folder).write_failure("c", kind="timeout", reason="too slow", source={})


def make_model(folder: Path) -> None:
    store = arrays(folder)
    config = HeadConfig(embed_dim=4, levels=2, stem_blocks=1, tower_layers=1)
    module, _ = initial_networks(3, SOLA)
    head = build_head(3, 2, config)
    trained = TrainedHead(head=head, labels=("run", "jump"), post=PostConfig(), module=(module, SOLA))
    save_model(folder / "model", trained, store, training={"note": 1})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def mend_model(folder: Path) -> None:
    value = json.loads((folder / "model" / "model.json").read_text())
    value["head_sha256"] = sha256(folder / "model" / "head.safetensors")
    value["features"]["sola"]["module_sha256"] = sha256(folder / "model" / "sola.safetensors")
    write(folder / "model" / "model.json", value)


def make_module(folder: Path) -> None:
    module, _ = initial_networks(3, SOLA)
    save_module(folder / "m.safetensors", module, SOLA, {"made": "here"})
    save_reference(folder / "m.pt", module)
    save_checkpoint(folder / "c.pt", {"a": 1}, {"step": 3, "x": torch.zeros(3)})


def read_module(folder: Path) -> None:
    with_own_errors(lambda: load_module(folder / "m.safetensors"))
    with_own_errors(lambda: load_reference(folder / "m.pt"))
    with_own_errors(lambda: load_checkpoint(folder / "c.pt", {"a": 1}))


def make_packed(folder: Path) -> None:
    pack(arrays(folder), folder / "packed")


def make_toml(folder: Path) -> None:
    write(folder / "s.toml", 'videos = ["v/"]\n[extract]\nencoder = "i3d_r50"\nfps = 25.5\n[[train]]\nepochs = 30\n')


def make_weights(folder: Path) -> None:
    network = torch.nn.Linear(3, 2)
    save_trained(folder / "own.safetensors", network, TOY_SPEC, about={"epochs": 1})
    save_file({"module.weight": torch.ones(2, 3), "module.bias": torch.zeros(2)}, folder / "plain.safetensors")
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, folder / "w.pth")


def read_weights(folder: Path) -> None:
    layout = Layout("a layer", "weight", ())
    for name in ("own.safetensors", "plain.safetensors", "w.pth"):

        def load(path: Path = folder / name) -> None:
            carried_spec(path)
            state = unwrap(read_file(path), where=path.name, is_bare=lambda names: "weight" in names)
            load_into(torch.nn.Linear(3, 2), state, recognize(state, (layout,), where=path.name), where=path.name)

        with_own_errors(load)


def make_clips(folder: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"x")
    table = io.StringIO()
    csv.writer(table).writerows([("path", "label", "group"), ("a.mp4", "run", "1"), ("b.mp4", "jump", "")])
    write(folder / "clips.csv", table.getvalue())


def make_export(folder: Path) -> None:
    store = arrays(folder)
    truth = {"a": ("training", 2.0, SEGMENTS), "b/ü": ("validation", 2.0, SEGMENTS)}
    annotations = read_annotations(annotate(folder / "a.json", truth))
    for to in ("opentad", "gtad"):
        export(store, annotations, folder / to, ExportConfig(to=to))


def read_exports(folder: Path) -> None:
    for to in ("opentad", "gtad"):
        with_own_errors(lambda to=to: import_export(folder / to, folder / f"{to} again"))


def make_published(folder: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    for kind in ("npy", "npz", "pkl"):
        (folder / kind).mkdir()
    np.save(folder / "npy" / "a.npy", array)
    np.savez(folder / "npz" / "a.npz", feats=array, other=array)
    (folder / "pkl" / "a.pkl").write_bytes(pickle.dumps(array))


def read_published(folder: Path) -> None:
    for kind in ("npy", "npz", "pkl"):
        config = replace(IMPORT, format=kind)
        with_own_errors(lambda kind=kind, config=config: import_features(folder / kind, folder / f"{kind} out", config))


def make_hdf5(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "f.h5", "w") as file:
        file["a"] = np.arange(12, dtype=np.float32).reshape(4, 3)
        file["b/feats"] = np.ones((2, 3), np.float32)


def with_own_errors(read: Callable[[], Any]) -> None:
    with contextlib.suppress(OWN):
        read()


READERS = {
    "activitynet": Reader(make_activitynet, read_truth, ("a.json",), cases=400),
    "bsn": Reader(make_bsn, read_truth, ("a.json", "*.csv"), cases=250),
    "thumos": Reader(make_thumos, read_truth, ("*.txt",), cases=150),
    "detections": Reader(
        make_detections,
        lambda f: (read_detections(f / "d.json"), read_external_data(f / "d.json")),
        ("d.json",),
        cases=300,
    ),
    "scores": Reader(make_scores, read_scores, ("*.json", "*.npy", "*.txt"), cases=300),
    "store": Reader(make_store_files, read_store, ("store/*.json", "store/features/*", "store/failures/*"), cases=400),
    "model": Reader(
        make_model, lambda f: load_model(f / "model"), ("model/*.json", "model/*.safetensors"), mend_model, cases=250
    ),
    "sola": Reader(make_module, read_module, ("*.safetensors", "*.pt"), cases=250),
    "packed": Reader(
        make_packed, lambda f: unpack(f / "packed", f / "again"), ("packed/index.json", "packed/shards/*"), cases=200
    ),
    "toml": Reader(make_toml, lambda f: read_toml(f / "s.toml"), ("s.toml",), cases=200),
    "weights": Reader(make_weights, read_weights, ("*.safetensors", "*.pth"), cases=300),
    "clips": Reader(make_clips, lambda f: find_clips(f / "clips.csv", group_pattern="(.*)"), ("clips.csv",), cases=150),
    "export": Reader(make_export, read_exports, ("*/export.json", "opentad/features/*", "gtad/*"), cases=100),
    "published": Reader(make_published, read_published, ("*/*",), cases=100),
    "hdf5": Reader(make_hdf5, lambda f: import_features(f / "f.h5", f / "out", IMPORT), ("f.h5",), cases=100),
    **{
        tool: Reader(partial(tool_files.make, tool=tool), partial(tool_files.read, tool=tool), (name,), cases=120)
        for tool, (name, _) in tool_files.FILES.items()
    },
}
