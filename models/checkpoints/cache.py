"""Keeps exported checkpoints by the hash of their files, so that PyTorch is needed only once."""

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import openvino

from models.checkpoints.checkpoint import Checkpoint, CheckpointError

FORMAT = 1
"""Raised whenever an export is written differently."""

_GRAPH, _WEIGHTS, _NOTE = "model.xml", "model.bin", "export.json"
_UNFINISHED = ".unfinished-"
_DAY = 86_400.0


class Exported(NamedTuple):
    """The graph of a checkpoint, and how many tokens of a text it reads."""

    graph: openvino.Model
    max_tokens: int


class _Note(msgspec.Struct):
    max_tokens: int
    checksums: dict[str, str]


def cache_folder() -> Path:
    """Where exports are kept: `FORESHOCK_CACHE`, else the user's cache folder."""
    if given := os.environ.get("FORESHOCK_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreshock"


def exported(checkpoint: Checkpoint) -> Exported:
    """The checkpoint's graph, exported at the first call on this machine.

    Raises `CheckpointError` where that fails, or where PyTorch and transformers, which the first
    call needs, are not installed.
    """
    folder = cache_folder() / "checkpoints" / f"{checkpoint.checksum[:32]}-{FORMAT}"
    note = _intact(folder)
    if note is None:
        try:
            note = _export(checkpoint, folder)
        except OSError as error:
            raise CheckpointError(
                f"The export of {checkpoint.folder} cannot be kept in {folder.parent} "
                f"({error.strerror}): point FORESHOCK_CACHE to a folder that can be written."
            ) from error
    return Exported(openvino.Core().read_model(folder / _GRAPH), note.max_tokens)


def _intact(folder: Path) -> _Note | None:
    """What is kept in `folder`; None where there is nothing, or not what was written."""
    try:
        note = msgspec.json.decode((folder / _NOTE).read_bytes(), type=_Note)
        if note.checksums == _checksums(folder):
            return note
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        pass
    return None


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for name in (_GRAPH, _WEIGHTS):
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _export(checkpoint: Checkpoint, folder: Path) -> _Note:
    """Writes aside and renames: whoever looks sees a whole export or none."""
    try:
        from models.checkpoints.network import export
    except ImportError as error:
        raise CheckpointError(
            f"{checkpoint.folder} is used for the first time, which needs the package "
            f"{error.name}: pip install 'foreshock[checkpoints]'."
        ) from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_unfinished(folder.parent)
    aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        made = aside / "export"
        made.mkdir()
        longest = export(checkpoint, made / _GRAPH)
        note = _Note(longest, _checksums(made))
        (made / _NOTE).write_bytes(msgspec.json.encode(note))
        if _intact(folder) is None:
            with suppress(FileNotFoundError):
                folder.rename(aside / "damaged")
            # A process beside us may be done before: what it kept is as good as ours.
            with suppress(OSError):
                made.rename(folder)
        kept = _intact(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if kept is None:
        raise CheckpointError(
            f"The export of {checkpoint.folder} is not found again in {folder}: "
            "point FORESHOCK_CACHE to a folder that nothing else changes."
        )
    return kept


def _clear_unfinished(folder: Path) -> None:
    """Removes what a killed process left a day ago or longer."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(path, ignore_errors=True)
