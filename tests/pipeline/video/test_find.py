"""Files, folders and lists become videos with ids."""

import os
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.video.find import find_videos


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ids(*inputs: Path, **settings) -> list[str]:
    return [video.id for video in find_videos(inputs, **settings)]


def test_a_folder_is_searched_with_its_subfolders_sorted_without_hidden_names_and_other_files(tmp_path):
    touch(tmp_path, "b.mp4", "a.MKV", "c/d.webm", "c/e.avi", "notes.txt", "x.jpg", ".hidden.mp4", ".git/f.mp4")
    assert ids(tmp_path) == ["a", "b", "d", "e"]
    assert ids(tmp_path, ids="path") == ["a", "b", "c/d", "c/e"]


def test_a_file_is_taken_with_any_suffix_and_each_path_once(tmp_path):
    touch(tmp_path, "clip.bin", "b.mp4")
    assert ids(tmp_path / "clip.bin", tmp_path, tmp_path / "b.mp4") == ["clip", "b"]


def test_a_list_names_paths_relative_to_itself(tmp_path):
    touch(tmp_path, "sub/a.mp4", "b.mov")
    (tmp_path / "list.txt").write_text(f"# videos\n\nsub/a.mp4\n  {tmp_path / 'b.mov'}  \n", encoding="utf-8-sig")
    assert ids(tmp_path / "list.txt") == ["a", "b"]
    assert ids(tmp_path / "list.txt", ids="path") == ["sub/a", "b"]


def test_a_list_that_names_a_missing_file_says_which_line(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.lst").write_text("a.mp4\nnone.mp4\n")
    with pytest.raises(PipelineError, match=r"list.lst line 2: no such file.*none.mp4"):
        find_videos([tmp_path / "list.lst"])


def test_two_videos_with_one_id_are_both_named_with_the_remedy(tmp_path):
    touch(tmp_path, "x/same.mp4", "y/same.mkv")
    with pytest.raises(PipelineError, match=r"x/same.mp4.*y/same.mkv.*'same'.*--ids path"):
        find_videos([tmp_path])
    assert ids(tmp_path, ids="path") == ["x/same", "y/same"]
    touch(tmp_path, "x/same.avi")
    with pytest.raises(PipelineError, match="rename one of them"):
        find_videos([tmp_path], ids="path")


@pytest.mark.parametrize("names", [(), ("a.txt.bak", "b.jpg")])
def test_a_folder_without_videos_is_refused_and_the_suffixes_are_named(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(PipelineError, match=r"no video below .*\.mkv.*\.mp4"):
        find_videos([tmp_path])


def test_missing_and_empty_inputs_are_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"no such file or folder: .*nowhere"):
        find_videos([tmp_path / "nowhere"])
    with pytest.raises(PipelineError, match="no input given"):
        find_videos([])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(PipelineError, match="no video named by"):
        find_videos([tmp_path / "empty.txt"])
    with pytest.raises(PipelineError, match="ids must be"):
        find_videos([tmp_path], ids="name")  # type: ignore[arg-type]


def test_links_that_lead_back_up_are_skipped_and_dead_links_are_listed(tmp_path):
    touch(tmp_path, "sub/a.mp4")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    assert ids(tmp_path) == ["dead", "a"]


def test_a_named_pipe_is_listed_like_a_dead_link(tmp_path):
    touch(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert ids(tmp_path) == ["a", "pipe"]


def test_files_are_not_measured_one_by_one(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{i:03d}.mp4" for i in range(200)))
    calls = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **settings: (calls.append(args), real(*args, **settings))[1])
    assert len(find_videos([tmp_path])) == 200
    assert len(calls) < 20
