"""Locate, download and read weights: a published name, a file or a URL; and record their bytes' SHA-256."""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import pickle
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import EncoderError
from encoders.stand_ins import stand_in_of

SUFFIXES = (".pth", ".pyth", ".pt", ".tar", ".safetensors")
TIMEOUT_SECONDS = 10.0
CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_SECONDS = 3600.0  # without a new byte; a running download gives up much earlier


@dataclass(frozen=True)
class PublishedWeights:
    """Weights available by name.

    Args:
        url: of the file; a name that ends in -<hex> promises the start of the file's SHA-256.
        description: what they were trained on and by whom, one line.
        sha256: the file's SHA-256, or its start, if the name does not promise it.
    """

    url: str
    description: str
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Return the name of the file in the cache."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def promised(self) -> str | None:
        """Return the required start of the file's SHA-256, by torch.hub's naming rule; None if unknown."""
        named = re.search(r"-([0-9a-f]{8,})\.\w+$", self.file_name)
        return self.sha256 or (named[1] if named else None)


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """The origin of an encoder's weights.

    Args:
        name: as requested: a published name, "random", or the file's name.
        path: of the file; None for random ones.
        url: of a published file, otherwise None.
        sha256: of the file's bytes, or of the tensors' canonical bytes for random ones.
        random: whether they were drawn, not trained.
        seed: of random weights, otherwise None.
    """

    name: str
    path: str | None
    url: str | None
    sha256: str
    random: bool
    seed: int | None


def cache_folder() -> Path:
    """Return torch.hub's folder of weight files, which TORCH_HOME or XDG_CACHE_HOME can change."""
    # Torch's own rule, repeated here because importing torch takes seconds.
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def is_url(weights: str) -> bool:
    """Return whether weights are given by a URL."""
    return weights.startswith(("https://", "http://"))


def from_url(weights: str) -> PublishedWeights:
    """Return the weights at a URL that promises the start of the file's SHA-256, at least 8 digits.

    Args:
        weights: https://…/name-<hex>.pth, as torch.hub names files, or https://…/name.pth#sha256=<hex>.

    Raises:
        EncoderError: the URL promises no SHA-256, or its last part is not the name of a weight file.
    """
    url, _, fragment = weights.partition("#")
    stated = re.fullmatch(r"sha256=([0-9a-f]{8,64})", fragment)
    source = PublishedWeights(url, "an address given by the user", sha256=stated[1] if stated else None)
    if not re.fullmatch(r"\w[\w.-]*", source.file_name) or Path(source.file_name).suffix not in SUFFIXES:
        raise EncoderError(f"weights must end in the name of a {', '.join(SUFFIXES)} file, got {weights}")
    if source.promised is None or (fragment and not stated):
        raise EncoderError(
            f"weights from a URL must promise their SHA-256 (at least its first 8 digits): in the file's name, "
            f"name-0123abcd.pth, or after the URL, {url}#sha256=0123abcd…; got {weights}"
        )
    return source


def locate(weights: str, published: Mapping[str, PublishedWeights]) -> tuple[Path, PublishedWeights | None]:
    """Return the weight file's path, downloaded if necessary, and its source if it is published or a URL.

    Args:
        weights: a name in `published`, a URL as in `from_url`, or a path.
        published: the encoder's published weights by name.

    Raises:
        EncoderError: it is neither a name nor a file, or the file is absent and cannot be downloaded.
    """
    if weights in published or is_url(weights):
        source = published[weights] if weights in published else from_url(weights)
        path = cache_folder() / source.file_name
        if not path.exists():
            download(source, path)
        return path, source
    path = Path(weights).expanduser()
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise EncoderError(f"weights must be a file of type {', '.join(SUFFIXES)}, got {weights}")
        return path, None
    names = [*published, "random"]
    close = difflib.get_close_matches(weights, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise EncoderError(
        f"weights must be one of {', '.join(names)}, an existing file, or a URL https://…, got {weights!r}{hint}"
    )


def download(source: PublishedWeights, path: Path) -> None:
    """Download a weight file to `path`, where it appears complete or not at all.

    Raises:
        EncoderError: the download failed, or its SHA-256 is wrong; the message says what to do by hand.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
            if time.time() - old.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                old.unlink(missing_ok=True)
        sha256 = _fetch(source.url, partial)
        check_promised(source, path, sha256)
        partial.replace(path)
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise EncoderError(
            f"weights {path.name} are not in {path.parent} and could not be fetched from {source.url} ({reason}): "
            f"download the file {path.name} by other means and put it into that folder, or give its path as "
            "weights, or choose weights random"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def check_promised(source: PublishedWeights, path: Path, sha256: str) -> None:
    """Raise EncoderError if a file has another SHA-256 than its name or URL promises."""
    promised = source.promised
    if promised and not sha256.startswith(promised):
        raise EncoderError(
            f"weights {path.name} must have a SHA-256 that starts with {promised}, got {sha256}: the file is "
            f"damaged or another; remove it from {path.parent} and fetch it again"
        )


def _fetch(url: str, path: Path) -> str:
    """Download `url` to `path` and return the SHA-256; raise OSError if the response is cut short."""
    import urllib.request  # here, so that `--help` does not load what speaks HTTP

    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
        expected = answer.headers.get("Content-Length")
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
        received = file.tell()
    if expected is not None and received != int(expected):
        raise OSError(f"{received} of {expected} bytes came")
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    """Return the first line of an error of torch, before its stack and its advice."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def read_file(path: Path) -> object:
    """Return the content of a weight file: tensors and plain containers only; none of it is run.

    Args:
        path: a .safetensors file, or one written by torch.save.

    Raises:
        EncoderError: the file is damaged, or holds more than tensors and plain values.
    """
    if found := stand_in_of(path):
        raise EncoderError(f"weights file {path} is {found}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EncoderError(
            f"weights file {path} was refused: it is damaged, or holds Python objects beside tensors, which "
            f"could run code ({_first_line(error)}); save its tensors alone as .safetensors"
        ) from error
    except Exception as error:
        # torch and safetensors raise many types (RuntimeError, EOFError, SafetensorError, ...) on damaged files.
        raise EncoderError(f"weights file {path} could not be read: {_first_line(error)}") from error
