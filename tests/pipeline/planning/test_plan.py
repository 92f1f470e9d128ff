"""Plans: the formulas worked by hand, the measurements on toys, and predictions compared with results."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.publisher import Publisher
from pipeline.planning import plan as subject
from pipeline.planning.config import PlanConfig
from pipeline.planning.plan import plan
from pipeline.planning.plan_model import (
    Collection,
    Machine,
    Shared,
    forecast,
    longest_video,
    most_machines,
    stations,
    with_slowdown,
)
from pipeline.planning.speed import decode_speed, joint_speed, store_seconds
from pipeline.stages.extract import extract
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoFile
from tests import videos as make
from tests.toys import ToyEncoder, toy_store_spec, use_toy_encoder

VIDEOS = Collection(
    videos=100,
    seconds=36000,
    snippets=20000,
    video_bytes=5e9,
    feature_bytes=8e7,
    longest_snippets=2000,
    mean_square_snippets=50000,
)
GPU = Machine(
    cores=8,
    decoders=4,
    shares_cores=False,
    decode=10,
    encode=200,
    hash=1e8,
    publish=0.01,
    start=20,
    find=0.001,
    look_up=0.01,
)
PLENTY = Shared(network=1e12, files=1e9)


def test_on_a_gpu_the_slowest_part_of_a_machine_is_the_whole():
    # 2,000 s of cores to decode and 50 s to hash, on four processes; 100 s to encode; 1 s to publish.
    assert stations(VIDEOS, GPU) == {"decode": 512.5, "encode": 100, "publish": 1}
    one = forecast(VIDEOS, GPU, PLENTY, machines=1)
    start = 20 + 100 * 0.001 + 100 * 0.01
    # One by one: the last of four processes may begin the longest video, 200 s, when the others end.
    assert one.seconds == pytest.approx(start + 512.5 + 0.75 * 200)
    assert one.sharded_seconds == pytest.approx(start + 512.5)
    assert one.machine_seconds == pytest.approx(start + 512.5)
    assert one.bottleneck == "decode"


def test_on_the_processor_decoders_take_cores_from_the_encoder():
    machine = replace(GPU, shares_cores=True)
    assert stations(VIDEOS, machine) == {"decode": 512.5, "encode": 100 + 2050 / 8, "publish": 1}
    flow = replace(VIDEOS, flow_seconds=1000)
    assert stations(flow, machine) == {"decode": 1512.5, "encode": 1356.25, "publish": 1}
    assert stations(flow, GPU)["encode"] == 100


def test_side_by_side_the_parts_are_slower_by_what_was_measured():
    # Alone 512.5 s to decode, of it 12.5 s of hashing: of decoding 0.025 s a snippet.
    assert with_slowdown(GPU, VIDEOS, joint=0) == GPU
    assert with_slowdown(GPU, VIDEOS, joint=50).slowdown == 1  # faster than alone: a chance
    slower = with_slowdown(GPU, VIDEOS, joint=20)
    assert slower.slowdown == pytest.approx(40 / 20)
    assert stations(VIDEOS, slower) == {"decode": 1025, "encode": 200, "publish": 1}
    # On the processor, a snippet: 0.005 s to encode, 0.1 / 8 to decode and 0.05 of flow, which is measured with them.
    eight = replace(GPU, shares_cores=True, decoders=8)
    shared = with_slowdown(eight, replace(VIDEOS, flow_seconds=1000), joint=10)
    assert shared.slowdown == pytest.approx(0.1 / (0.005 + 0.1 / 8 + 0.05))


def test_many_machines_are_held_up_by_what_they_share_and_by_the_longest_video():
    assert longest_video(VIDEOS, GPU) == 200
    assert longest_video(VIDEOS, replace(GPU, encode=5)) == 400
    many = forecast(VIDEOS, GPU, PLENTY, machines=64)
    start = 20 + 0.1 + 100 / 64 * 0.01
    assert many.seconds == pytest.approx(start + 512.5 / 64 + (1 - 1 / 256) * 200)
    assert many.bottleneck == "longest video"
    # 5 GB at 10 MB/s; 200 files at 2 a second.
    slow = forecast(VIDEOS, GPU, Shared(network=1e7, files=1e9), machines=64)
    assert (slow.seconds, slow.bottleneck) == (pytest.approx(start + 500), "network")
    few = forecast(VIDEOS, GPU, Shared(network=1e12, files=0.25), machines=64)
    assert (few.seconds, few.bottleneck) == (pytest.approx(start + 800), "files")
    assert few.machine_seconds == pytest.approx(64 * (start + 800))
    assert forecast(VIDEOS, replace(GPU, find=10), PLENTY, machines=512).bottleneck == "listing"
    assert forecast(VIDEOS, replace(GPU, start=300), PLENTY, machines=512).bottleneck == "start"


def test_more_machines_gain_nothing_where_their_work_takes_as_long_as_what_is_fixed():
    most = most_machines(VIDEOS, GPU, Shared(network=1e7, files=4))
    assert most == {"longest video": 512.5 / 200, "network": 512.5 / 500, "files": 512.5 / 50}


def test_with_shards_the_fullest_machine_decides():
    spread = math.sqrt(100 * 0.25 * 0.75 * 50000) * 512.5 / 20000
    four = forecast(replace(VIDEOS, longest_snippets=200), GPU, PLENTY, machines=4)
    start = 20 + 0.1 + 25 * 0.01
    assert four.sharded_seconds == pytest.approx(start + 512.5 / 4 + math.sqrt(2 * math.log(4)) * spread)
    assert forecast(VIDEOS, GPU, PLENTY, machines=4).sharded_seconds == pytest.approx(start + 200)  # the longest video


def test_the_fullest_of_many_random_shares_is_about_as_full_as_the_formula_says():
    random = np.random.default_rng(0)
    lengths = random.lognormal(mean=5, sigma=1, size=2000)
    videos = replace(
        VIDEOS,
        videos=2000,
        snippets=lengths.sum(),
        mean_square_snippets=float(np.square(lengths).mean()),
        longest_snippets=lengths.max(),
    )
    machine = replace(GPU, start=0, find=0, look_up=0, encode=1e9, hash=1e12, decode=1, decoders=1)
    for n in (8, 64):
        fullest = [np.bincount(random.integers(0, n, 2000), weights=lengths, minlength=n).max() for _ in range(200)]
        foreseen = forecast(videos, machine, PLENTY, machines=n).sharded_seconds
        assert np.mean(fullest) <= foreseen <= 1.35 * np.mean(fullest)


def test_dealing_one_by_one_never_takes_longer_than_foreseen():
    random = np.random.default_rng(1)
    for _ in range(100):
        lengths = random.lognormal(sigma=1.5, size=60)
        machine = replace(GPU, start=0, find=0, look_up=0, encode=1e9, hash=1e15, decode=1, decoders=3, publish=0)
        videos = replace(VIDEOS, snippets=lengths.sum(), video_bytes=1, longest_snippets=lengths.max())
        free = np.zeros(5 * 3)  # when each decoder of five machines is free again
        for length in lengths:
            free[free.argmin()] += length
        foreseen = forecast(videos, machine, PLENTY, machines=5).seconds
        assert free.max() <= foreseen * (1 + 1e-9)
        assert foreseen <= 2 * free.max()


def test_a_million_hours_are_more_of_the_same():
    more = VIDEOS.of_hours(1e6)
    assert (more.seconds, more.videos, more.snippets) == (3.6e9, 1e7, 2e9)
    assert (more.longest_snippets, more.mean_square_snippets) == (2000, 50000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"machines": ()}, "machines"),
        ({"machines": (0,)}, "machines"),
        ({"hours": 0}, "hours must be > 0, got 0"),
        ({"network_gbit": float("nan")}, "network_gbit"),
        ({"decode_seconds": -1}, "decode_seconds"),
    ],
)
def test_settings_out_of_range_are_refused(options, words):
    with pytest.raises(PipelineError, match=words):
        PlanConfig(**options)


# Measured on toys


@pytest.fixture
def encoder(monkeypatch) -> ToyEncoder:
    encoder = use_toy_encoder(monkeypatch)
    monkeypatch.setattr(subject, "open_encoder", lambda config: (encoder, toy_store_spec(config)))
    monkeypatch.setattr(subject, "import_seconds", lambda: 2.0)
    return encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make.constant(path / f"v{number}.mp4", 20 + 20 * number, 10)
    (path / "broken.mp4").write_text("no video")
    return path


def test_a_plan_counts_the_collection_and_measures_the_machine(folder, encoder, tmp_path):
    config = ExtractConfig(workers=1)
    result = plan([folder], tmp_path / "store", config, PlanConfig(sample=100, machines=(1, 4)))
    store, summary = extract([folder], tmp_path / "store", config)
    videos, machine = result.collection, result.machine
    assert videos.snippets == summary.snippets == sum(5 + 5 * n for n in range(6))
    assert videos.videos == 7
    assert videos.longest_snippets >= 30
    assert videos.video_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert videos.feature_bytes == 105 * 6 * 4 + 7 * (128 + 3 * 1024)  # rows of six floats, and what stands beside them
    assert machine.shares_cores and machine.decoders == 1
    for name in ("decode", "encode", "hash", "publish", "start", "find", "look_up"):
        assert 0 < getattr(machine, name) < math.inf, name
    assert machine.start > 2
    assert [one.machines for one in result.forecasts] == [1, 4]
    assert list(tmp_path.iterdir()) == [store.path]  # the files of the disk measurement are removed
    with pytest.raises(PipelineError, match="nothing to plan"):
        plan([folder / "broken.mp4"], None, config, PlanConfig())


def test_decode_speed_is_that_of_whole_videos_and_names_what_cannot_be_decoded(folder, encoder):
    config = ExtractConfig(workers=1)
    spec = toy_store_spec(config)
    videos = [video for video in find_videos([folder]) if video.id != "broken"]
    assert decode_speed(videos, encoder, spec.plan, config.decoding, seconds=60) > 0
    assert decode_speed(videos[:1], encoder, spec.plan, config.decoding, seconds=60) > 0
    with pytest.raises(PipelineError, match="broken: unreadable"):
        decode_speed([VideoFile("broken", folder / "broken.mp4")], encoder, spec.plan, config.decoding, seconds=60)


def test_joint_speed_is_that_of_all_videos_but_the_broken_ones(folder, encoder):
    config = ExtractConfig(workers=1)
    plan_ = toy_store_spec(config).plan
    slow = ToyEncoder(batch_size=4)
    plain = slow.encode
    slow.encode = lambda frames: (time.sleep(0.05), plain(frames))[1]  # 4 snippets each 0.05 s
    assert 0 < joint_speed(find_videos([folder]), [slow], plan_, config.decoding, seconds=60) < 100
    broken = VideoFile("broken", folder / "broken.mp4")
    assert joint_speed([broken], [encoder], plan_, config.decoding, seconds=60) == 0


def test_store_seconds_grow_with_the_size_of_an_array(encoder, tmp_path):
    config = ExtractConfig()
    spec = replace(toy_store_spec(config), channels=2048)
    video = VideoFile("v", tmp_path / "absent.mp4")
    small, look_up = store_seconds(spec, 1, [video], where=tmp_path)
    large, _ = store_seconds(spec, 500, [video], where=tmp_path)
    assert 0 < look_up < 1
    assert large > small
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_table_or_json(folder, encoder, monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def command(*words: str) -> str:
        with pytest.raises(SystemExit) as exit_info:
            main(["plan", str(folder), *words])
        assert not exit_info.value.code
        return capsys.readouterr().out

    value = json.loads(command("--json", "--machines", "1", "512", "--hours", "1000000", "--network-gbit", "1e-6"))
    assert value["collection"]["seconds"] == pytest.approx(3.6e9)
    assert [one["bottleneck"] for one in value["forecasts"]] == ["network", "network"]
    assert value["files"] == pytest.approx(2 * value["collection"]["videos"])
    text = command("--network-gbit", "1e-6", "--files-per-second", "7")
    assert "105 snippets" in text
    assert "1e-06 Gbit/s and 7 files/s" in text
    assert text.count("network") >= 4
    assert "network: what would help: copies of the videos" in text
    assert "more machines gain nothing beyond: 0 (network)" in text
    many = command("--hours", "1000000")
    assert "each process lists all videos" in many
    assert "a store is one folder" in many


def test_a_plan_takes_the_settings_of_extract_from_a_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[extract]\nencoder = "x3d_s"\nstride_frames = 8\n[plan]\nstride_frames = 4\nmachines = [3]\n')
    _, bound = bound_command(["plan", "videos", "--config", str(file)])
    settings, planning = bound.arguments["settings"], bound.arguments["planning"]
    assert (settings.encoder, settings.stride_frames, planning.machines) == ("x3d_s", 4, (3,))


# Publishing


def test_a_publisher_answers_in_order_and_raises_what_was_raised():
    publisher = Publisher()
    for number in range(40):
        publisher.submit(VideoFile(f"{number}", Path("x")), lambda number=number: number % 3 > 0)
    told = [*publisher.published(), *publisher.all()]
    assert [video.id for video, _ in told] == [f"{number}" for number in range(40)]
    assert [answer for _, answer in told] == [number % 3 > 0 for number in range(40)]

    def fail() -> bool:
        raise OSError("full")

    published: list[str] = []
    publisher.submit(VideoFile("a", Path("a")), fail)
    publisher.submit(VideoFile("b", Path("b")), lambda: published.append("b") or True)
    with pytest.raises(OSError, match="full"):
        list(publisher.all())
    publisher.close()
    assert published == ["b"]
