"""The feature store: what is on disk, what counts as done, what is refused."""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.file_names import file_name_of, identifier_of
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec, rows_as_json
from pipeline.store.tools.verify import repair, verify_store

PLAN = SnippetPlan(fps=Fraction(30), window_frames=Fraction(16), stride_frames=Fraction(8), num_frames=3)
SPEC = StoreSpec(
    channels=4,
    dtype="float32",
    plan=PLAN,
    encoder={"name": "toy", "version": 1},
    weights={"name": "random", "sha256": "00", "random": True, "seed": 0},
    precision="fp32",
    decoder="auto",
)
DETAILS = {"duration_seconds": 0.8, "duration_exact": "4/5", "source": {"path": "a.mp4"}}
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store", SPEC)


def write(store, video_id="a", rows=ROWS, details=DETAILS):
    with store.writer(video_id) as writer:
        for row in rows:
            writer.append(row[None])
        writer.commit(details)


def test_array_is_plain_numpy_and_sidecar_says_what_a_row_means(store):
    write(store)
    array = np.load(store.path / "features" / "a.npy", allow_pickle=False)
    np.testing.assert_array_equal(array, ROWS)
    sidecar = json.loads((store.path / "features" / "a.json").read_text())
    assert sidecar["shape"] == [3, 4]
    assert sidecar["sha256"] == hashlib.sha256(ROWS.tobytes()).hexdigest()
    rows = sidecar["rows"]
    assert rows["stride_seconds"] == pytest.approx(8 / 30)
    assert rows["window_seconds"] == pytest.approx(16 / 30)
    assert rows["first_center_seconds"] == pytest.approx(8 / 30)
    assert "i * stride_seconds" in rows["meaning"]


def test_float16_store_holds_float16(tmp_path):
    store = FeatureStore.create(tmp_path / "half", replace(SPEC, dtype="float16"))
    write(store)
    assert np.load(store.array_path("a")).dtype == np.float16


def test_nothing_is_visible_before_commit_and_nothing_left_without_it(store):
    with store.writer("a") as writer:
        writer.append(ROWS)
        assert store.ids() == []
    assert list((store.path / "features").iterdir()) == []


def test_an_array_without_its_sidecar_is_not_done(store):
    write(store)
    store.sidecar_path("a").unlink()  # as if killed between the two
    assert store.ids() == []
    assert store.sidecar("a") is None
    assert [p.kind for p in verify_store(store)] == ["torn"]


def test_a_truncated_array_is_not_done_and_repair_removes_it(store):
    write(store)
    data = store.array_path("a").read_bytes()
    store.array_path("a").write_bytes(data[:-1])
    assert store.sidecar("a") is None
    problems = verify_store(store)
    assert [p.kind for p in problems] == ["torn"]
    assert repair(problems) == 2
    assert verify_store(store) == []
    assert store.ids() == []


def test_deep_verification_finds_a_changed_bit_that_fast_verification_cannot(store):
    write(store)
    data = bytearray(store.array_path("a").read_bytes())
    data[-1] ^= 1
    store.array_path("a").write_bytes(bytes(data))
    assert verify_store(store) == []
    assert [p.kind for p in verify_store(store, deep=True)] == ["hash"]


def test_deep_verification_compares_rows_with_the_duration(store):
    write(store, details={**DETAILS, "duration_exact": "2/3"})  # 2/3 s / (8/30 s) = 2.5: three rows
    assert verify_store(store, deep=True) == []
    write(store, "b", details={**DETAILS, "duration_exact": "2"})  # 7.5: eight rows
    assert [(p.id, p.kind) for p in verify_store(store, deep=True)] == [("b", "length")]


def test_a_store_of_another_spec_is_refused_and_the_differing_field_named(store):
    other = replace(SPEC, precision="bf16", encoder={"name": "other", "version": 1})
    with pytest.raises(PipelineError, match=r"encoder\.name: 'toy' here, 'other' there; precision: 'fp32' here"):
        FeatureStore.create(store.path, other)


def test_opening_a_store_gives_back_its_spec(store):
    assert FeatureStore.open(store.path).spec == SPEC


def test_a_folder_with_other_files_is_not_taken_for_a_new_store(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PipelineError, match="exists and is not a feature store"):
        FeatureStore.create(tmp_path, SPEC)


def test_opening_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"no store.json"):
        FeatureStore.open(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": 99}', "not json"])
def test_a_damaged_spec_is_one_clear_error(tmp_path, content):
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(PipelineError):
        FeatureStore.open(tmp_path)


def test_values_that_are_not_finite_are_refused_with_the_remedy(tmp_path):
    store = FeatureStore.create(tmp_path / "half", replace(SPEC, dtype="float16"))
    with store.writer("a") as writer, pytest.raises(PipelineError, match="--dtype float32"):
        writer.append(np.full((1, 4), 1e6, dtype=np.float32))  # float16 ends at 65504


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_the_row_that_is_not_finite_is_named_whatever_batches_rows_come_in(store, batch):
    rows = np.where(np.arange(10)[:, None] >= 7, np.float32("nan"), np.zeros((10, 4), np.float32))
    with store.writer("a") as writer, pytest.raises(PipelineError, match="a: features of row 7 are not finite"):
        for start in range(0, 10, batch):
            writer.append(rows[start : start + batch])


def test_success_removes_the_record_of_an_earlier_failure(store):
    store.write_failure("a", kind="timeout", reason="too slow", source={})
    store.write_failure("a", kind="timeout", reason="too slow", source={})
    assert store.failure("a")["attempts"] == 2
    write(store)
    assert store.failed_ids() == []


def test_fingerprint_depends_on_content_alone(store, tmp_path):
    write(store)
    twin = FeatureStore.create(tmp_path / "twin", SPEC)
    write(twin)
    assert store.fingerprint() == twin.fingerprint()
    write(twin, "a", rows=ROWS + 1)
    assert store.fingerprint() != twin.fingerprint()


@pytest.mark.parametrize("video_id", ["a", "v_-x.1", "a/b", "../../etc/passwd", ".hidden", "ä b%20", "c:\\d", "a\nb"])
def test_file_names_are_reversible_and_stay_in_their_folder(tmp_path, video_id):
    name = file_name_of(video_id)
    assert identifier_of(name) == video_id
    path = (tmp_path / f"{name}.npy").resolve()
    assert path.parent == tmp_path.resolve()


def test_ids_that_make_no_file_name_are_refused():
    for video_id in ("", "\ud800"):
        with pytest.raises(PipelineError, match="video id must"):
            file_name_of(video_id)


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("rate", [Fraction(30), None])
def test_a_sidecar_of_other_settings_is_refused_when_it_is_read(tmp_path, rate):
    spec = replace(SPEC, plan=replace(PLAN, fps=rate))
    store = FeatureStore.create(tmp_path / "store", spec)
    rows = {"rows": rows_as_json(spec.plan.at(Fraction(25)))}
    write(store, details={**DETAILS, **rows})
    assert store.read("a").features.shape == (3, 4)
    path = store.sidecar_path("a")
    sidecar = json.loads(path.read_text())
    for change, words in (
        ({"precision": "bf16"}, "precision: 'fp32' here, 'bf16' there"),
        ({"rows": {**sidecar["rows"], "stride_frames": "4"}}, "rows.stride_frames: '8' here, '4' there"),
        ({"encoder": {"name": "other", "version": 1}}, "encoder.name: 'toy' here, 'other' there"),
    ):
        path.write_text(json.dumps({**sidecar, **change}))
        assert store.sidecar("a") is None
        with pytest.raises(PipelineError, match=words):
            store.read("a")
        with pytest.raises(PipelineError, match=words):
            list(store.sequences())
        assert [(p.id, p.kind) for p in verify_store(store)] == [("a", "spec")]
    assert repair(verify_store(store)) == 2
