"""A real S3 server on loopback: extract, killed and resumed; sola; verify: the same bytes as local stores."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, StorageError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_against_videos, verify_store
from sola.config import SolaConfig
from tests import ROOT
from tests.pipeline.stages.test_stages import gray_video
from tests.remote import files_of, put, remote
from tests.toys import use_toy_encoder

COMMAND = """
import sys, time
import pipeline.stages.extract
from tests.toys import ToyEncoder, toy_store_spec

class Slow(ToyEncoder):
    def encode(self, snippets):
        time.sleep(float(sys.argv[1]))
        return super().encode(snippets)

pipeline.stages.extract.open_encoder = lambda config: (Slow(), toy_store_spec(config))
from pipeline.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def server():
    """The address of moto's server, which keeps its buckets in memory."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server, tmp_path, monkeypatch) -> str:
    """The URL of a new bucket; the environment holds credentials and the server's address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("SOLA_CACHE_FOLDER", str(tmp_path / "cache"))
    import s3fs

    bucket = tmp_path.name.replace("_", "-")[:60].strip("-").lower()
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture
def videos(tmp_path) -> Path:
    for number in range(6):
        gray_video(tmp_path / "videos" / f"v{number}.mp4", 12 + 3 * number)
    return tmp_path / "videos"


def run(tmp_path: Path, seconds: float, *words: str) -> subprocess.Popen[str]:
    (tmp_path / "slow_command.py").write_text(COMMAND)
    command = [sys.executable, "-m", "slow_command", str(seconds), *words]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def arrays_of(folder) -> dict[str, bytes]:
    return {name: data for name, data in files_of(folder).items() if name.endswith((".npy", ".safetensors"))}


def test_extract_is_killed_and_resumed_then_sola_and_verify(s3, videos, tmp_path, monkeypatch):
    put(videos, remote(f"{s3}/videos"))
    words = ("extract", f"{s3}/videos", "--out", f"{s3}/store", "--workers", "1")
    killed = run(tmp_path, 0.5, *words)
    deadline = time.monotonic() + 90
    while not any(name.endswith(".json") for name in files_of(remote(f"{s3}/store/features"))):
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = FeatureStore.open(remote(f"{s3}/store")).ids()
    assert 1 <= len(done) < 6
    resumed = run(tmp_path, 0, *words)
    output, errors = resumed.communicate(timeout=120)
    assert (resumed.returncode, errors.partition(" ")[0]) == (0, "next:") and errors.count("\n") == 1
    assert f"{6 - len(done)} videos done, {len(done)} were done before, 0 failed" in output

    use_toy_encoder(monkeypatch)
    here, _ = extract([videos], tmp_path / "store", ExtractConfig(workers=1))
    assert arrays_of(remote(f"{s3}/store")) == arrays_of(tmp_path / "store")

    settings = SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")
    enhance_store(here, tmp_path / "enhanced", settings)
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", "5e-7")  # two sequences are copied, the windows of others read by range
    enhance_store(FeatureStore.open(remote(f"{s3}/store")), remote(f"{s3}/enhanced"), settings)
    assert arrays_of(remote(f"{s3}/enhanced")) == arrays_of(tmp_path / "enhanced")
    for name in ("store", "enhanced"):
        store = FeatureStore.open(remote(f"{s3}/{name}"))
        assert verify_store(store, deep=True) == []
        assert verify_against_videos(store, [remote(f"{s3}/videos")]) == []
        assert len(store.ids()) == 6
    assert [path for path in (tmp_path / "cache" / "partial").rglob("*") if path.is_file()] == []


def test_what_s3_refuses_says_what_to_do(s3, tmp_path, monkeypatch):
    import s3fs

    with pytest.raises(PipelineError, match="s3://no-such-bucket/store is not a feature store"):
        FeatureStore.open(remote("s3://no-such-bucket/store"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()  # or it would go on with the credentials that it has
    with pytest.raises(StorageError, match=r"locate credentials; set them in the environment \(AWS_ACCESS_KEY_ID"):
        FeatureStore.open(remote(f"{s3}/store"))
    s3fs.S3FileSystem.clear_instance_cache()
