"""Every reader of files, on damaged forms of valid files: an answer, or an error of the project's own."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.mutations import as_json, changed, damaged, watched
from tests.readers import READERS, with_own_errors


def damage_one(draw: Any, folder: Path, patterns: tuple[str, ...]) -> None:
    pattern = draw(st.sampled_from(patterns))
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    file = draw(st.sampled_from(files))
    data = file.read_bytes()
    if file.suffix == ".json" and draw(st.integers(0, 4)):
        file.write_bytes(as_json(changed(draw, json.loads(data))))
    elif file.suffix == ".safetensors" and draw(st.booleans()):
        file.write_bytes(other_header(draw, data))
    else:
        file.write_bytes(damaged(draw, data))


def other_header(draw: Any, data: bytes) -> bytes:
    """A safetensors file whose header says something else; also inside the JSON that we put into it."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    own = header.get("__metadata__", {})
    if own and draw(st.booleans()):
        name = next(iter(own))
        facts = json.loads(own[name])
        if "config" in facts and draw(st.booleans()):
            facts["config"] = as_json(changed(draw, json.loads(facts["config"]))).decode()
        else:
            facts = changed(draw, facts)
        header["__metadata__"] = {name: as_json(facts).decode()}
        text = as_json(header)
    else:
        text = as_json(changed(draw, header))
    return len(text).to_bytes(8, "little") + text + data[end:]


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_and_nothing_else_is_reached(name, tmp_path):
    reader = READERS[name]
    (tmp_path / "valid").mkdir()
    reader.make(tmp_path / "valid")
    reader.read(tmp_path / "valid")
    shutil.rmtree(tmp_path / "valid")
    (tmp_path / "valid").mkdir()
    reader.make(tmp_path / "valid")

    @settings(
        max_examples=reader.cases,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # a case that hangs is not tried again
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "valid", folder)
        damage_one(data.draw, folder, reader.damage)
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            reader.mend(folder)
        with watched(folder):
            with_own_errors(lambda: reader.read(folder))

    check()
