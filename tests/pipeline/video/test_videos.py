"""The list of videos of a job, kept outside the memory of the process."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from pipeline.storage.location import RemotePath
from pipeline.video.videos import SameIdError, VideoFile, VideoList


def listed(*ids: str) -> VideoList:
    videos = VideoList()
    for video_id in ids:
        assert videos.add(video_id, Path(f"/v/{video_id}.mp4"))
    return videos


def ids(videos) -> list[str]:
    return [video.id for video in videos]


def test_it_is_a_sequence_in_the_order_of_adding():
    videos = listed("c", "a", "b")
    assert (len(videos), ids(videos), ids(videos[1:])) == (3, list("cab"), list("ab"))
    assert ids(reversed(videos)) == list("bac")
    assert videos[-1] == videos[2] == VideoFile("b", Path("/v/b.mp4"))
    assert VideoFile("a", Path("/v/a.mp4")) in videos
    assert sorted(ids(Random(0).sample(videos, 3))) == list("abc")
    for place in (3, -4):
        with pytest.raises(IndexError, match=f"place {place} of 3"):
            videos[place]
    assert not VideoList()


def test_it_can_begin_at_any_place_and_be_walked_twice_at_a_time():
    videos = listed(*"abcde")
    assert ids(videos.beginning_at(3)) == list("deabc")
    assert ids(videos.beginning_at(0)) == list("abcde")
    assert [(one.id, other.id) for one in videos for other in videos] == [(x, y) for x in "abcde" for y in "abcde"]


def test_a_path_is_taken_once_and_an_id_by_one_path_only():
    videos = listed("a")
    assert not videos.add("other", Path("/v/a.mp4"))
    with pytest.raises(SameIdError, match=r"/v/a.mp4 and /w/a.mkv .* 'a'"):
        videos.add("a", Path("/w/a.mkv"))
    assert ids(videos) == ["a"]


def test_a_selection_is_a_new_list():
    videos = listed(*"abcde")
    assert ids(videos.only(lambda video_id: video_id in "bd")) == ["b", "d"]
    assert ids(videos) == list("abcde")


def test_names_that_are_not_utf8_come_back_as_they_are():
    assert ids(listed("caf\udce9", "café")) == ["caf\udce9", "café"]


def test_remote_paths_share_their_remote():
    videos, folder = VideoList(), RemotePath("memory://bucket/videos")
    for name in "ab":
        videos.add(name, folder / f"{name}.mp4")
    videos.add("c", Path("/v/c.mp4"))
    assert [str(video.path) for video in videos] == [f"{folder}/a.mp4", f"{folder}/b.mp4", "/v/c.mp4"]
    assert isinstance(videos[0].path, RemotePath)
    assert videos[0].path.remote is folder.remote


def test_a_full_temporary_folder_is_named_with_the_remedy():
    code = """if True:
        import resource
        from pathlib import Path
        from pipeline.errors import PipelineError
        from pipeline.video.videos import VideoList
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        videos = VideoList()
        try:
            for number in range(100_000):
                videos.add(f"video{number:07}", Path(f"/data/video{number:07}.mp4"))
        except PipelineError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "their list does not fit in the temporary folder" in done.stdout
    assert "SQLITE_TMPDIR" in done.stdout


def peak_megabytes(count: int) -> float:
    """Return the peak memory of a process that lists `count` videos, iterates over them and looks some up."""
    code = f"""if True:
        import resource
        from pathlib import Path
        from pipeline.video.videos import VideoList
        videos = VideoList()
        for number in range({count}):
            videos.add(f"folder/video{{number:07}}", Path(f"/data/folder/video{{number:07}}.mp4"))
        assert sum(1 for _ in videos.beginning_at({count} // 3)) == {count} == len(videos)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from Linux")
def test_memory_does_not_grow_with_their_number():
    assert peak_megabytes(60_000) - peak_megabytes(10) < 6  # a list of as many objects takes 30 MB and more
