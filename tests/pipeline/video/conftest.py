"""What several tests of decoder processes share."""

from pathlib import Path

import pytest

from pipeline.video.find import find_videos
from pipeline.video.videos import VideoList
from tests.videos import constant


@pytest.fixture
def videos(tmp_path: Path) -> VideoList:
    """Six videos of 10, 20, … 60 frames at 30 frames a second."""
    for number in range(1, 7):
        constant(tmp_path / "videos" / f"v{number}.mp4", 10 * number, 30)
    return find_videos([tmp_path / "videos"])
