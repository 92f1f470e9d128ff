"""Optical flow against known motion; its bytes by hand; errors without OpenCV."""

import builtins
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from encoders.errors import EncoderError
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encoders import flow_settings, load_streams
from pipeline.video.flow import FlowSettings, estimators, flow_as_bytes, require

cv2 = pytest.importorskip("cv2")
MARGIN = 16  # pixels at the border, where what moves in is not known


def texture(height: int, width: int, *, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Return a smooth picture of waves, moved by any fraction of a pixel, uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    rows, columns = rows - down, columns - right
    waves = [(0.11, 0.07, 0.3), (-0.05, 0.13, 1.1), (0.19, -0.04, 2.0), (0.03, 0.23, 0.7), (0.21, 0.17, 1.9)]
    value = sum(np.sin(a * columns + b * rows + phase) for a, b, phase in waves)
    return np.repeat((127.5 + 25 * value).round().astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("motion", [(3, -2), (2.5, 1.25), (-6.5, 4.25), (1.5, 1.0)])
def test_tvl1_finds_a_translation_within_five_percent(motion):
    estimate = estimators(FlowSettings())()
    flow = estimate(texture(96, 128), texture(96, 128, right=motion[0], down=motion[1]))
    assert flow.shape == (96, 128, 2) and flow.dtype == np.float32
    mean = flow[MARGIN:-MARGIN, MARGIN:-MARGIN].mean(axis=(0, 1))
    assert np.linalg.norm(mean - motion) <= 0.05 * np.linalg.norm(motion)


def test_a_picture_that_stands_still_has_no_flow():
    still = texture(64, 64)
    assert np.all(flow_as_bytes(estimators(FlowSettings())()(still, still.copy())) == 128)


def test_bytes_of_flow_by_hand():
    flow = np.array([0, 1, -1, 20, -20, 35, -35, 0.07, -0.07, 10], np.float32)
    # 6.375 a pixel; 0.07 pixels are 0.446 of a byte.
    assert flow_as_bytes(flow).tolist() == [128, 134, 122, 255, 0, 255, 0, 128, 128, 192]


def test_estimates_do_not_depend_on_threads_or_on_earlier_estimates():
    pairs = [(texture(48, 64), texture(48, 64, right=k / 2, down=1 - k)) for k in range(5)]
    alone = [estimators(FlowSettings())()(*pair) for pair in pairs]
    one = estimators(FlowSettings())()
    again = [one(*pair) for pair in reversed(pairs)][::-1]
    make = estimators(FlowSettings())
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda pair: make()(*pair), pairs * 3))
    for number, expected in enumerate(alone):
        assert np.array_equal(again[number], expected)
        assert all(np.array_equal(beside[number + 5 * turn], expected) for turn in range(3))


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "cv2":
            raise ImportError("No module named 'cv2'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        PipelineError, match=r'OpenCV is not installed; pip install "sola-pipeline\[flow\]".*--flow raft'
    ):
        load_streams(ExtractConfig(encoder="tsn_r50", weights="random", streams="flow"), "cpu", "fp32")


def test_an_opencv_without_contributed_modules_has_its_own_error(monkeypatch):
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(PipelineError, match="lacks them: remove it first"):
        require("tvl1")
    require("raft")


# --- RAFT ------------------------------------------------------------------------------------------


def raft(weights: str) -> np.ndarray:
    estimate = estimators(FlowSettings(method="raft", weights=weights))()
    return estimate(texture(100, 133), texture(100, 133, right=2))


def test_raft_takes_frames_of_any_size_and_equals_torchvisions_network(tmp_path):
    from torchvision.models.optical_flow import raft_small

    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = raft_small(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    flow = raft(str(tmp_path / "raft.pth"))
    assert flow.shape == (100, 133, 2) and flow.dtype == np.float32
    frames = [torch.from_numpy(texture(100, 133, right=x)).permute(2, 0, 1)[None] / 255 * 2 - 1 for x in (0, 2)]
    frames = [torch.nn.functional.pad(frame, (0, 3, 0, 28), "replicate") for frame in frames]  # to 136 x 128
    with torch.no_grad():
        expected = network(*frames)[-1][0, :, :100, :133].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(flow, expected, atol=1e-4)
    assert not np.allclose(flow, raft("random"), atol=1e-2)
    assert np.array_equal(raft("random"), raft("random"))


def test_absent_raft_weights_explain_themselves(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    config = ExtractConfig(streams="flow", flow="raft")
    words = r"raft_large_C_T_SKHT_V2-ff5fadd5\.pth are not in .*checkpoints.*https://download\.pytorch\.org/models/raft"
    with pytest.raises(EncoderError, match=words):
        flow_settings(config.decoding, torch.device("cpu"), threads=1)


def test_a_file_of_another_network_is_no_raft(tmp_path):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(PipelineError, match=r"other\.pth is no file of torchvision's RAFT"):
        raft(str(tmp_path / "other.pth"))
