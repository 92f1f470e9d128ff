"""Find models of the Hugging Face hub: in a folder, in the hub's cache, or by download. Safetensors only, no code."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError, reason_of
from encoders.stand_ins import stand_in_of
from encoders.weights import file_sha256

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")

# What a download takes: configurations, tokenizers and safetensors; never pickles or code.
_WANTED = ["*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt"]
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REVISION = re.compile(r"\w[\w./-]*")
_LONGEST_JSON = 1 << 24


@dataclass(frozen=True)
class Snapshot:
    """The files of one model.

    Args:
        folder: that holds them.
        name: repository@commit; for a folder of the user's, its own name.
    """

    folder: Path
    name: str

    def facts(self, file: str) -> dict[str, Any]:
        """Return the content of a JSON file.

        Raises:
            EncoderError: it is absent or damaged, or asks for code of its own.
        """
        path = self.folder / file
        try:
            if path.stat().st_size > _LONGEST_JSON:
                raise ValueError("it is too long")
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EncoderError(f"model {self.name} has no {file} in {self.folder}") from None
        except (OSError, ValueError, RecursionError) as error:
            found = stand_in_of(path)
            raise EncoderError(f"{path} could not be read: {'it is ' + found if found else error}") from None
        if not isinstance(facts, dict):
            raise EncoderError(f"{path} must hold an object, got {type(facts).__name__}")
        if facts.get("auto_map"):
            raise EncoderError(
                f"model {self.name} needs code of its own ({file} has auto_map), which is never run; choose a "
                "model that transformers has built in, or wrap it as your own network (path/to/file.py:name)"
            )
        return facts

    def weight_files(self) -> list[Path]:
        """Return the safetensors files of the model, in order of their names.

        Raises:
            EncoderError: there are none, some are missing, or only a pickle is there.
        """
        if (self.folder / WEIGHTS).is_file():
            names = [WEIGHTS]
        elif (self.folder / INDEX).is_file():
            shards = self.facts(INDEX).get("weight_map")
            names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
            if not names or any(Path(name).name != name or Path(name).suffix != ".safetensors" for name in names):
                raise EncoderError(f"{self.folder / INDEX} must name .safetensors files beside it")
        else:
            raise EncoderError(self._without_weights())
        for name in names:
            path = self.folder / name
            if not path.is_file():
                raise EncoderError(f"model {self.name} lacks its weight file {name} in {self.folder}")
            if found := stand_in_of(path):
                raise EncoderError(f"weights file {path} is {found}")
        return [self.folder / name for name in names]

    def sha256(self) -> str:
        """Return the SHA-256 of the weight file; of several, that of the lines "SHA-256 name"."""
        files = self.weight_files()
        if len(files) == 1:
            return file_sha256(files[0])
        lines = "".join(f"{file_sha256(path)} {path.name}\n" for path in files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _without_weights(self) -> str:
        pickles = [name for name in PICKLES if (self.folder / name).exists()]
        if pickles:
            return (
                f"model {self.name} has its weights only as {pickles[0]} in {self.folder}; a pickle could run code and "
                f"is never read: convert it to {WEIGHTS}, or choose a revision that has it"
            )
        return f"model {self.name} has no {WEIGHTS} in {self.folder}"


def find_snapshot(place: str, *, files: Sequence[tuple[str, ...]]) -> Snapshot:
    """Return the files of a model: of a folder, of a repository in the hub's cache, or downloaded.

    A revision that is a branch or tag is what the cache knows under this name; give a commit for another.

    Args:
        place: a folder, or REPOSITORY[@REVISION] with a branch, tag or commit.
        files: the files that are needed; of each tuple one.

    Raises:
        EncoderError: no folder, or the repository is not at hand; the message names repository, file and folder.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        return Snapshot(folder, folder.resolve().name)
    repository, _, revision = place.partition("@")
    revision = revision or "main"
    if not _REPOSITORY.fullmatch(repository) or not _REVISION.fullmatch(revision) or ".." in place:
        raise EncoderError(
            f"model folder {place} does not exist; say where it is with --encoder hf:FOLDER, or name a repository, "
            "hf:OWNER/NAME[@REVISION]"
        )
    require("huggingface_hub", "transformers")
    found = _cached(repository, revision, files)
    if found is None:
        _download(repository, revision, files)
        found = _cached(repository, revision, files)
    if found is None:
        raise EncoderError(_absent(repository, revision, files, "it is not in the repository"))
    return Snapshot(found, f"{repository}@{found.name}")


def require(package: str, extra: str) -> None:
    """Raise EncoderError if a package is not installed; the message names the extra that brings it."""
    if importlib.util.find_spec(package) is None:
        raise EncoderError(f'this encoder needs {package}: pip install "sola-pipeline[{extra}]"')


def _cached(repository: str, revision: str, files: Sequence[tuple[str, ...]]) -> Path | None:
    """Return the folder of the cache that has the files, named by its commit; None if one is missing."""
    from huggingface_hub import try_to_load_from_cache

    folder = None
    for names in files:
        paths = [try_to_load_from_cache(repository, name, revision=revision) for name in names]
        found = [Path(path) for path in paths if isinstance(path, str)]
        if not found:
            return None
        folder = found[0].parent
    if folder is not None and (folder / INDEX).is_file():
        shards = json.loads((folder / INDEX).read_text(encoding="utf-8")).get("weight_map", {}).values()
        if any(not (folder / Path(str(shard)).name).is_file() for shard in shards):
            return None
    return folder


def _download(repository: str, revision: str, files: Sequence[tuple[str, ...]]) -> None:
    """Fetch a repository's safetensors, configurations and tokenizer into the hub's cache."""
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, revision=revision, allow_patterns=_WANTED)
    except Exception as error:
        # The hub's client raises its own errors, those of its network library, OSError and ValueError.
        raise EncoderError(_absent(repository, revision, files, reason_of(error))) from None


def _absent(repository: str, revision: str, files: Sequence[tuple[str, ...]], reason: str) -> str:
    from huggingface_hub import constants

    names = ", ".join(" or ".join(choice) for choice in files)
    return (
        f"model {repository} (revision {revision}) is not in {constants.HF_HUB_CACHE} with {names}, and could not be "
        f"fetched ({reason}): put it there by other means, or into a folder of its own and give that folder"
    )
