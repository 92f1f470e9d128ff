"""What every reader refuses; file names in every script and locale; wrapped weights."""

import json
import os
import socket
import subprocess
import sys
import unicodedata
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import EncoderError
from encoders.layouts import Layout, load_into, unwrap
from encoders.weights import read_file
from pipeline.annotations import adopt_ids, match, read_annotations
from pipeline.annotations.detections import read_detections
from pipeline.annotations.match import find_name, names_by_form
from pipeline.detection.video_scores import read_video_scores
from pipeline.errors import PipelineError
from pipeline.snippets import exact
from pipeline.storage.file_names import file_name_of, identifier_of, is_shortened
from pipeline.storage.npy import read_npy
from pipeline.storage.read_files import read_json, read_toml
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
from pipeline.video.find import find_videos
from tests.stores import annotate, make_store

LINEAR = Layout("a layer", "weight", ())
CHINESE = "如何在一天之内学会滑雪的完整教程第一部分初学者"
THAI = "สอนเล่นสกีในหนึ่งวันสำหรับผู้เริ่มต้น"
READERS = {
    "annotations": (read_annotations, ".json"),
    "thumos": (read_annotations, "_val.txt"),
    "detections": (read_detections, ".json"),
    "video scores": (read_video_scores, ".json"),
    "array": (read_video_scores, ".npy"),
    "settings": (read_toml, ".toml"),
}


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a folder", "a device"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path, reader, kind):
    read, suffix = READERS[reader]
    path = tmp_path / f"Run{suffix}"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    if (reader, kind) in (("annotations", "a folder"), ("thumos", "a folder")):
        kind = "no file in .* is in a known form"  # labels may lie in a folder
    with pytest.raises(PipelineError, match=kind):
        read(path)


def test_a_pipe_in_the_place_of_a_part_of_a_store_is_no_sequence(tmp_path):
    store = make_store(tmp_path / "store", {"a": np.zeros((2, 3), np.float32)})
    pack(store, tmp_path / "packed")
    for path in (tmp_path / "packed" / "shards" / "000000.tar", store.sidecar_path("a")):
        path.unlink()
        os.mkfifo(path)
    assert store.sidecar("a") is None
    with pytest.raises(PipelineError, match="it is a pipe"):
        unpack(tmp_path / "packed", tmp_path / "again")


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1e0_999999", "1/0", "9" * 5000, "nan", "inf", "", []])
def test_numbers_out_of_all_bounds_are_refused_before_they_are_made(tmp_path, text):
    with pytest.raises(PipelineError, match="a number such as"):
        exact(text)
    make_store(tmp_path / "store", {"a": np.zeros((2, 3), np.float32)})
    value = json.loads((tmp_path / "store" / "store.json").read_text())
    value["rows"]["fps"] = text
    (tmp_path / "store" / "store.json").write_text(json.dumps(value))
    with pytest.raises(PipelineError, match=r"store\.json is not the spec of a feature store: a number such as"):
        FeatureStore.open(tmp_path / "store")


def test_numbers_that_people_mean_are_exact():
    numbers = (Fraction(1, 10), Fraction(30000, 1001), 25, Fraction(1, 1000))
    assert tuple(map(exact, (0.1, "30000/1001", 25, "1e-3"))) == numbers


@pytest.mark.parametrize("change", [{"shape": None}, {"rows": None}, {"duration_seconds": ""}, {"rows": {"fps": "25"}}])
def test_a_sidecar_without_rows_or_duration_is_not_believed(tmp_path, change):
    store = make_store(tmp_path / "store", {"a": np.zeros((2, 3), np.float32)})
    value = json.loads(store.sidecar_path("a").read_text())
    store.sidecar_path("a").write_text(json.dumps(value | {"duration_seconds": 10**400}))
    assert store.sidecar("a") is None
    store.sidecar_path("a").write_text(json.dumps(value | change))
    assert store.sidecar("a") is None
    store.sidecar_path("a").write_text(json.dumps(value))
    assert store.sidecar("a") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9" * 5000, "an integer of 5000 digits"),
        ("[" * 100_000, "is not JSON"),
        ("[" * 80 + "]" * 80, "more than 64 deep"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        ("\n<!DOCTYPE html><html></html>", "a web page"),
        ("", "empty"),
    ],
)
def test_json_that_is_none_is_named_for_what_it_is(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(PipelineError, match=words):
        read_json(tmp_path / "a.json", what="annotations")


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000, "a = {b=" * 3000])
def test_toml_that_python_cannot_hold_is_one_line(tmp_path, text):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(PipelineError, match=r"s\.toml is not TOML"):
        read_toml(tmp_path / "s.toml")


def test_an_array_that_claims_terabytes_is_refused_before_memory_is_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    data = (tmp_path / "a.npy").read_bytes()
    assert read_npy(tmp_path / "a.npy", what="scores").shape == (3, 4)
    (tmp_path / "a.npy").write_bytes(data.replace(b"(3, 4)", b"(3000000000000, 4)").replace(b" " * 12, b"", 1))
    for read in (lambda path: read_npy(path, what="scores"), read_video_scores):
        with pytest.raises(PipelineError, match="48000000000000 bytes"):
            read(tmp_path / "a.npy")


def test_a_class_index_that_is_a_list_is_a_disagreement_not_a_traceback(tmp_path):
    file = annotate(tmp_path / "a.json", {"a": ("training", 9.0, [(1, 2, "run")])})
    value = json.loads(file.read_text())
    value["database"]["a"]["annotations"][0]["label_id"] = [1]
    file.write_text(json.dumps(value))
    assert read_annotations(file).labels == ("run",)


@pytest.mark.parametrize(
    "video_id",
    [CHINESE, THAI, "Как научиться " * 6, "é" * 120, "😀" * 60, "x" * 250, "ab\0" * 70, "." * 250],
)
def test_any_name_that_a_file_system_holds_is_an_id(tmp_path, video_id):
    name = file_name_of(video_id)
    assert len(name.encode()) <= 200 and "/" not in name and "\0" not in name and not name.startswith(".")
    if video_id == CHINESE:
        assert name == CHINESE
    rows = np.zeros((2, 3), np.float32)
    store = make_store(tmp_path / "store", {video_id: rows, video_id + "b": rows})
    store.write_failure(video_id + "c", kind="timeout", reason="slow", source={})
    again = FeatureStore.open(tmp_path / "store")
    assert again.ids() == sorted([video_id, video_id + "b"])
    assert again.failed_ids() == [video_id + "c"]
    pack(again, tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "unpacked")
    assert FeatureStore.open(tmp_path / "unpacked").read(video_id).features.shape == (2, 3)


def test_names_that_fit_percent_encoded_stay_what_they_were():
    assert file_name_of("é/1 [x]") == "%C3%A9%2F1 [x]"
    assert identifier_of("%C3%A9%2F1 [x]") == "é/1 [x]"
    long = file_name_of("x" * 300)
    assert is_shortened(long) and file_name_of(long) == long and not is_shortened("x{0123456789abcdef}")
    assert file_name_of("x" * 300) != file_name_of("x" * 301)


def test_a_store_is_the_same_in_a_locale_that_is_not_utf8(tmp_path):
    words = f"""
import sys; from pathlib import Path; import numpy as np
from tests.stores import make_store
from pipeline.store.feature_store import FeatureStore
from pipeline.video.find import find_videos
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
assert sys.getfilesystemencoding() == "ascii", sys.getfilesystemencoding()
here = Path({str(tmp_path)!r})
videos = find_videos([here / "videos"])
assert all(video.path.is_file() for video in videos)
store = make_store(here / "ascii", {{video.id: np.zeros((2, 3), np.float32) for video in videos}})
assert sorted(store.ids()) == sorted(video.id for video in videos)
pack(store, here / "packed"); unpack(here / "packed", here / "unpacked")
"""
    (tmp_path / "videos").mkdir()
    names = {CHINESE, "é", "é" * 110}
    for name in names:
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"x")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", words], env=ascii_only, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for folder in ("ascii", "unpacked"):
        assert set(FeatureStore.open(tmp_path / folder).ids()) == names


def test_composed_and_decomposed_names_match_with_a_note(tmp_path):
    composed = "caf\u00e9_01"
    stored = unicodedata.normalize("NFD", composed)
    annotations = read_annotations(annotate(tmp_path / "a.json", {composed: ("training", 9.0, [(1, 2, "run")])}))
    adopted = adopt_ids(annotations, [stored])
    assert match(adopted, [stored]).both == (stored,)
    assert r"'caf\xe9_01' is 'cafe\u0301_01'" in adopted.problems[-1]
    both = names_by_form([composed, stored])
    assert (find_name(composed, both), find_name(stored, both)) == (composed, stored)
    assert find_name(f"v_{composed}", names_by_form([stored])) == stored


def test_links_to_nothing_are_videos_that_will_fail(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "notes").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert [video.id for video in find_videos([tmp_path])] == ["a", "gone", "loop", "pipe"]


def test_the_remedy_for_two_videos_of_one_id_helps(tmp_path):
    for name in ("x/same.mp4", "y/same.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PipelineError, match="with --ids path"):
        find_videos([tmp_path])
    assert len(find_videos([tmp_path], ids="path")) == 2
    (tmp_path / "x" / "same.avi").write_bytes(b"x")
    for ids in ("stem", "path"):
        with pytest.raises(PipelineError, match="rename one of them") as error:
            find_videos([tmp_path / "x"], ids=ids)
        assert "--ids" not in str(error.value)


@pytest.mark.parametrize(
    ("outer", "prefix"),
    [
        (("model_state_dict",), ""),
        (("net",), ""),
        (("state_dict", "model"), ""),
        ((), "model."),
        ((), "_orig_mod."),
        ((), "module.module."),
        (("state_dict",), "module._orig_mod.model."),
    ],
)
def test_weights_come_out_of_their_wrappings(tmp_path, outer, prefix):
    content = {f"{prefix}{name}": value for name, value in nn.Linear(3, 2).state_dict().items()}
    for key in reversed(outer):
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "w.pth")
    assert set(unwrap(read_file(tmp_path / "w.pth"), where="file")) == {"weight", "bias"}


def test_a_networks_own_names_are_not_taken_for_wrappings():
    state = {"model.weight": torch.zeros(1), "model.net.bias": torch.zeros(1)}
    assert unwrap(state, where="file", is_bare=lambda names: "model.weight" in names) == state
    assert set(unwrap(state, where="file", is_bare=lambda names: "net.bias" in names)) == {"weight", "net.bias"}
    with pytest.raises(EncoderError, match="several networks"):
        unwrap({"model.weight": torch.zeros(1), "weight": torch.zeros(1)}, where="file")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool])
def test_weights_that_are_no_real_numbers_are_refused(dtype):
    network = nn.Linear(3, 2)
    state = {name: value.to(dtype) for name, value in network.state_dict().items()}
    with pytest.raises(EncoderError, match=f"floating-point weights: weight is {dtype}"):
        load_into(network, state, LINEAR, where="file")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_a_pointer_or_a_page_are_named_as_such(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 97794163\n")
    with pytest.raises(EncoderError, match=r"a pointer of Git LFS.*`git lfs pull`"):
        read_file(path)
    path.write_text("<html><head><title>404</title>")
    with pytest.raises(EncoderError, match="a web page"):
        read_file(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_a_lack_of_memory_is_one_line(tmp_path):
    video = {"subset": "training", "duration": 9, "annotations": [{"segment": [1, 2], "label": "x"}] * 400}
    (tmp_path / "a.json").write_text(json.dumps({"database": {f"v{n}": video for n in range(2000)}}))
    words = (
        "import resource; from pathlib import Path; from pipeline.cli import main; "
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2); "
        f"main(['annotations', {str(tmp_path / 'a.json')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: out of memory") and len(done.stderr.splitlines()) == 1
