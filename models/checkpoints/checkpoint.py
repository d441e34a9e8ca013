"""Reads a sequence classifier's folder without PyTorch, and maps its labels to ours by name."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from models.artifact import CONFIG, TOKENIZER, TaggingConfig
from models.errors import ModelError
from models.tags import HEADS

CALIBRATION = "foreshock.json"
"""May lie in the folder: `{"temperatures": {"sentiment": 1.3}, "abstention_threshold": 0.5}`."""

MOST_TOKENS = 512
"""No more of a text is read, even by a model that could."""

_TOKENIZER_CONFIG = "tokenizer_config.json"
_PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_SYNONYMS = {
    "bearish": "negative",
    "neg": "negative",
    "neu": "neutral",
    "bullish": "positive",
    "pos": "positive",
}
_MEANINGLESS = re.compile(r"(?:label_?)?\d+", re.IGNORECASE)


class CheckpointError(ModelError):
    """A checkpoint that cannot be served; says why and what to do."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder may say of its model; an untold temperature is 1."""

    temperatures: dict[str, float] = {}
    abstention_threshold: float = 0.5


@dataclass(frozen=True)
class Checkpoint:
    """A folder that has passed every check that needs no PyTorch.

    `columns`: for each head that the model has, the outputs that are its labels, in the order of
    `HEADS`. `most_tokens`: upper bound of what the model reads. `checksum`: SHA-256 over every file
    that a tag depends on.
    """

    folder: Path
    columns: dict[str, tuple[int, ...]]
    tokenizer: Tokenizer
    padding: int
    most_tokens: int
    config: TaggingConfig
    checksum: str


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` has the Hugging Face layout, rather than that of an artifact."""
    try:
        return "model_type" in msgspec.json.decode((folder / CONFIG).read_bytes(), type=dict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def read_checkpoint(folder: Path) -> Checkpoint:
    """The classifier in `folder`; raises `CheckpointError` where it cannot be served."""
    config = _json(folder / CONFIG)
    _check_code(folder, config)
    files = _files(folder)
    columns = map_labels(folder, config.get("id2label"))
    tokenizer = _tokenizer(folder)
    told = _json(folder / _TOKENIZER_CONFIG) if (folder / _TOKENIZER_CONFIG).exists() else {}
    limits = (config.get("max_position_embeddings"), told.get("model_max_length"))
    checksum = _checksum(folder, files)
    calibration = _calibration(folder)
    return Checkpoint(
        folder=folder,
        columns=columns,
        tokenizer=tokenizer,
        padding=_padding(folder, config, told, tokenizer),
        most_tokens=min(MOST_TOKENS, *(n for n in limits if isinstance(n, int) and n > 0)),
        config=TaggingConfig(
            name=folder.resolve().name,
            version=checksum[:12],
            temperatures={head: calibration.temperatures.get(head, 1.0) for head in columns},
            abstention_threshold=calibration.abstention_threshold,
            label_shares={},
        ),
        checksum=checksum,
    )


def map_labels(folder: Path, id2label: object) -> dict[str, tuple[int, ...]]:
    """For each head that `id2label` names in full, the outputs in the order of the head's labels.

    Names are compared without case and punctuation; bearish and bullish are negative and positive.
    Raises `CheckpointError` for a name that is no head's, twice there, or missing.
    """
    where = f"id2label in {folder / CONFIG}"
    mend = "write each output's right label there"
    if not isinstance(id2label, Mapping) or not id2label:
        raise CheckpointError(f"{where} is missing: {mend}.")
    if sorted(map(str, id2label)) != sorted(map(str, range(len(id2label)))):
        raise CheckpointError(f"{where} does not count its labels from 0: {mend}.")
    homes = {_plain(label): (head, label) for head, labels in HEADS.items() for label in labels}
    found: dict[str, dict[str, int]] = {}
    for index, given in id2label.items():
        plain = _plain(str(given))
        home = homes.get(_SYNONYMS.get(plain, plain))
        if home is None:
            why = "means nothing" if _MEANINGLESS.fullmatch(str(given)) else "is no head's"
            raise CheckpointError(f"{where} has the label {given!r}, which {why}: {mend}.")
        head, label = home
        if label in found.setdefault(head, {}):
            raise CheckpointError(f"{where} names {label!r} twice: {mend}.")
        found[head][label] = int(index)
    for head, outputs in found.items():
        absent = [label for label in HEADS[head] if label not in outputs]
        if absent:
            raise CheckpointError(
                f"{where} lacks {', '.join(map(repr, absent))} of the head {head!r}: "
                "a model must know every label of a head."
            )
    return {
        head: tuple(found[head][name] for name in names)
        for head, names in HEADS.items()
        if head in found
    }


def _plain(label: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", label.casefold()))


def _json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): correct the configured path."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): save the model again with save_pretrained."
        ) from error


def _check_code(folder: Path, config: Mapping[str, Any]) -> None:
    if "auto_map" in config:
        raise CheckpointError(
            f"The model in {folder} brings its own code (auto_map), which is never run: "
            "use an architecture that transformers has."
        )
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        raise CheckpointError(
            f"The model in {folder} is {architectures or 'of no named architecture'}: "
            "only ...ForSequenceClassification gives labels to texts."
        )


def _files(folder: Path) -> list[Path]:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = sorted(path.name for kind in _PICKLED for path in folder.glob(kind))
        if pickled:
            raise CheckpointError(
                f"{folder / pickled[0]} is pickled, so that reading it could run any code: "
                "save the model as safetensors, as save_pretrained does."
            )
        raise CheckpointError(
            f"{folder} holds no weights (*.safetensors): save the model with save_pretrained."
        )
    others = (CONFIG, TOKENIZER, _TOKENIZER_CONFIG, CALIBRATION, "model.safetensors.index.json")
    return [*weights, *(folder / name for name in others if (folder / name).exists())]


def _checksum(folder: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(files):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}): correct the configured path."
            ) from error
        total.update(f"{path.relative_to(folder)} {digest}\n".encode())
    return total.hexdigest()


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {TOKENIZER}: save the model's fast tokenizer there "
            "(AutoTokenizer.from_pretrained(...).save_pretrained)."
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise CheckpointError(
            f"{path} cannot be read ({error}): save the tokenizer again."
        ) from error
    tokenizer.no_padding()
    # Without this a text that says "</s>" or "[PAD]" would speak to the model in its own tokens.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _padding(
    folder: Path, config: Mapping[str, Any], told: Mapping[str, Any], tokenizer: Tokenizer
) -> int:
    if isinstance(given := config.get("pad_token_id"), int):
        return given
    names = [told.get("pad_token"), "[PAD]", "<pad>"]
    ids = (tokenizer.token_to_id(name) for name in names if isinstance(name, str))
    for found in ids:
        if found is not None:
            return int(found)
    raise CheckpointError(
        f"{folder / CONFIG} names no padding token: write its id there as pad_token_id."
    )


def _calibration(folder: Path) -> Calibration:
    path = folder / CALIBRATION
    if not path.exists():
        return Calibration()
    try:
        calibration = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    for head, temperature in calibration.temperatures.items():
        if head not in HEADS or not temperature > 0:
            raise CheckpointError(
                f"{path} has the temperature {temperature} for {head!r}: "
                f"give a positive one for {' or '.join(HEADS)}."
            )
    return calibration
