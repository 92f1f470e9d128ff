"""Memory depends neither on the length of a video nor on the number of videos. Figures: `pytest -m slow -s`."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.pipeline.video.test_decode import needs_decord
from tests.videos import constant

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from Linux")]

FPS = 25


def lengthened(source: Path, target: Path, times: int) -> Path:
    """Write a video that shows `source` several times in a row; copy its packets instead of encoding them again."""
    with av.open(str(source)) as one, av.open(str(target), "w") as many:
        stream = one.streams.video[0]
        copy = many.add_stream_from_template(stream)
        packets = [packet for packet in one.demux(stream) if packet.size]
        length = max(packet.pts for packet in packets) + 1 * round(1 / FPS / stream.time_base)
        contents = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
        for turn in range(times):
            for content, pts, dts, is_key in contents:
                packet = av.Packet(content)
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.time_base, packet.stream, packet.is_keyframe = stream.time_base, copy, is_key
                many.mux(packet)
    return target


def peaks(paths: list[Path], decoder: str) -> dict[str, float]:
    """Return the peak memory in MiB of a fresh main process and of its largest worker, and the number of rows."""
    script = textwrap.dedent(f"""
        import json, sys
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from pipeline.video.decode_settings import DecodeSettings
        from pipeline.video.events import Failed, Finished, Restarted, Snippets
        from pipeline.video.pool import DecodePool
        from pipeline.video.videos import VideoFile
        from tests.pipeline.video.test_decode import PLAN, SPEC
        videos = [VideoFile(str(i), Path(p)) for i, p in enumerate(json.loads(sys.stdin.read()))]
        rows, worker = 0, 0.0

        def peak(process):
            lines = Path(f"/proc/{{process}}/status").read_text().splitlines()
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

        with DecodePool(1, DecodeSettings(SPEC, PLAN, {decoder!r})) as pool:
            for event in pool.decode(videos):
                assert not isinstance(event, (Failed, Restarted)), event
                rows += len(event.frames) if isinstance(event, Snippets) else 0
                if isinstance(event, Finished):
                    worker = max(worker, peak(pool._processes[0].pid))
        print(json.dumps(dict(main=peak("self"), worker=worker, rows=rows)))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([str(p) for p in paths]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Only tables with an entry a frame grow: 8 bytes of ours, and what the readers themselves keep of an MP4 file (FFmpeg's
# index about 100 bytes, decord's maps as much again).
BYTES_A_FRAME = {"pyav": 150, "decord": 260}


@pytest.mark.parametrize("decoder", ["pyav", pytest.param("decord", marks=needs_decord)])
def test_two_hours_take_only_a_larger_table_of_timestamps_than_two_minutes(tmp_path, decoder):
    seconds = 120
    small = constant(tmp_path / "small.mp4", seconds * FPS, FPS)
    large = lengthened(small, tmp_path / "large.mp4", 60)
    short, long = peaks([small], decoder), peaks([large], decoder)
    sys.stdout.write(f"\n{decoder}: 2 minutes {short}, 2 hours {long}\n")
    assert long["rows"] == 60 * short["rows"] == -(-Fraction(7200) // Fraction(4, 30))
    assert long["main"] <= 1.1 * short["main"]
    growth = (long["worker"] - short["worker"]) * (1 << 20) / (59 * seconds * FPS)
    assert growth <= BYTES_A_FRAME[decoder]


@pytest.mark.parametrize("decoder", ["pyav", pytest.param("decord", marks=needs_decord)])
def test_a_thousand_videos_take_no_more_memory_than_a_hundred(tmp_path, decoder):
    path = constant(tmp_path / "v.mp4", 30, FPS)
    few, many = peaks([path] * 100, decoder), peaks([path] * 1000, decoder)
    sys.stdout.write(f"\n{decoder}: 100 videos {few}, 1,000 videos {many}\n")
    assert many["rows"] == 10 * few["rows"]
    for who in ("main", "worker"):
        assert many[who] <= 1.1 * few[who]
