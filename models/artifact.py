"""The trained model as files: int8 weights, tokenizer and configuration, verified when loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from tokenizers import Tokenizer

from models.errors import ModelError
from models.tags import HEADS
from models.text import NORMALISATION_VERSION

DEFAULT_ARTIFACT = Path(__file__).parent / "artifacts" / "foreshock-minilm-open"
WEIGHTS, TOKENIZER, CONFIG, CARD = "model.safetensors", "tokenizer.json", "config.json", "README.md"
FORMAT = 1
PADDING = 0
"""The id of the token that fills up a batch; no text contains it."""

Tensors = dict[str, NDArray[Any]]


class ArtifactError(ModelError):
    """The model's files are missing, damaged, or not made for this version."""


class Architecture(msgspec.Struct, frozen=True):
    """Sizes of the encoder."""

    layers: int = 6
    width: int = 384
    attention_heads: int = 12
    inner_width: int = 1536
    vocabulary: int = 30_522
    max_tokens: int = 96
    layer_norm_epsilon: float = 1e-12

    def linears(self) -> dict[str, tuple[int, int]]:
        """The int8 layers: their names and the shape (outputs, inputs) of their weights."""
        shapes = {
            "attention_in": (3 * self.width, self.width),
            "attention_out": (self.width, self.width),
            "dense_in": (self.inner_width, self.width),
            "dense_out": (self.width, self.inner_width),
        }
        return {f"layers.{i}.{n}": s for i in range(self.layers) for n, s in shapes.items()}

    def tensors(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of every tensor in the weights' file."""
        width = self.width
        norms = ["norm"]
        for i in range(self.layers):
            norms += [f"layers.{i}.attention_norm", f"layers.{i}.dense_norm"]
        expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "words.weight": ((self.vocabulary, width), np.int8),
            "words.scale": ((self.vocabulary, 1), np.float32),
            "positions.weight": ((self.max_tokens, width), np.float32),
        }
        for name in norms:
            expected |= {f"{name}.{kind}": ((width,), np.float32) for kind in ("weight", "bias")}
        for name, shape in self.linears().items():
            expected[f"{name}.weight"] = (shape, np.int8)
            expected[f"{name}.scale"] = ((shape[0], 1), np.float32)
            expected[f"{name}.bias"] = ((shape[0],), np.float32)
            expected[f"{name}.smoothing"] = ((shape[1],), np.float32)
        for head, labels in HEADS.items():
            expected[f"heads.{head}.weight"] = ((len(labels), width), np.float32)
            expected[f"heads.{head}.bias"] = ((len(labels),), np.float32)
        return expected


class ActivationGrid(msgspec.Struct, frozen=True):
    """The static uint8 grid of a layer's smoothed input: (integer - zero_point) * scale.

    The input's channels are divided by the layer's tensor `smoothing` before; its weights are
    multiplied already.
    """

    scale: float
    zero_point: int


class TaggingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of its own answers.

    `label_shares` are the shares of the labels in the training data, for comparison with a stream,
    as are `mean_confidence` by head and `abstention_share` on texts held out from it; a model that
    does not know them leaves them out. `marks_entities`: the model answers for the mention that
    `models.marking.mark` marks.
    """

    name: str
    version: str
    temperatures: dict[str, float]
    abstention_threshold: float
    label_shares: dict[str, dict[str, float]]
    mean_confidence: dict[str, float] = {}
    abstention_share: float | None = None
    marks_entities: bool = False


class ArtifactConfig(TaggingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config.json`: all that is needed to serve the weights beside it.

    `id2label` has a mapping from index to name for each head; `checksums` are SHA-256 by file.
    """

    format: int = FORMAT
    recipe: str
    architecture: Architecture
    id2label: dict[str, dict[str, str]]
    activations: dict[str, ActivationGrid]
    normalisation_version: int
    checksums: dict[str, str]


@dataclass(frozen=True)
class Artifact:
    """A verified model. Rows of the heads' tensors stand in the order of `models.tags.HEADS`.

    `checksum` covers the configuration and, through the checksums in it, weights and tokenizer.
    """

    config: ArtifactConfig
    tensors: Tensors
    tokenizer: Tokenizer
    checksum: str


def load_artifact(folder: Path = DEFAULT_ARTIFACT) -> Artifact:
    """Reads and verifies the model in `folder`; raises `ArtifactError` where it is not as made."""
    config_bytes = _read(folder, CONFIG)
    try:
        config = msgspec.json.decode(config_bytes, type=ArtifactConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{folder / CONFIG} cannot be read ({error}): install the model again."
        ) from error
    _check_versions(config, folder)
    weights = _verified(folder, WEIGHTS, config)
    tokenizer_bytes = _verified(folder, TOKENIZER, config)
    try:
        tensors: Tensors = load_tensors(weights)
        tokenizer = Tokenizer.from_str(tokenizer_bytes.decode())
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ArtifactError(
            f"The model in {folder} cannot be read ({error}): install it again."
        ) from error
    _check_tensors(config, tensors, folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(config.architecture.max_tokens)
    # Without this a text that says "[PAD]" or "[SEP]" would speak to the model in its own tokens.
    tokenizer.encode_special_tokens = True
    _order_heads(config, tensors, folder)
    return Artifact(config, tensors, tokenizer, hashlib.sha256(config_bytes).hexdigest())


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{folder / name} cannot be read ({error.strerror}): "
            "install the model again or correct the configured path."
        ) from error


def _verified(folder: Path, name: str, config: ArtifactConfig) -> bytes:
    content = _read(folder, name)
    expected = config.checksums.get(name)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ArtifactError(
            f"{folder / name} is damaged (its SHA-256 is {found[:12]}…, {CONFIG} says "
            f"{str(expected)[:12]}…): install the model again."
        )
    return content


def _check_versions(config: ArtifactConfig, folder: Path) -> None:
    if config.format != FORMAT:
        raise ArtifactError(
            f"The model in {folder} has format {config.format}, this version reads {FORMAT}: "
            "install matching versions of model and program."
        )
    if config.normalisation_version != NORMALISATION_VERSION:
        raise ArtifactError(
            f"The model in {folder} learned text normalisation {config.normalisation_version}, "
            f"this version has {NORMALISATION_VERSION}: train again or install matching versions."
        )


def _check_tensors(config: ArtifactConfig, tensors: Tensors, folder: Path) -> None:
    for name, (shape, kind) in config.architecture.tensors().items():
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != kind:
            is_there = "missing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise ArtifactError(
                f"Tensor {name} in {folder / WEIGHTS} is {is_there}, expected "
                f"{kind.__name__}{list(shape)}: install the model again."
            )
    absent = config.architecture.linears().keys() - config.activations.keys()
    if absent:
        raise ArtifactError(
            f"{folder / CONFIG} has no activation grid for {min(absent)}: install the model again."
        )


def _order_heads(config: ArtifactConfig, tensors: Tensors, folder: Path) -> None:
    """Brings each head's rows into the order of its labels' names: an index means nothing."""
    for head in {**config.id2label, **config.temperatures}:
        if head not in HEADS:
            raise ArtifactError(
                f"{folder / CONFIG} has a head {head!r}, this version knows {', '.join(HEADS)}: "
                "install matching versions of model and program."
            )
    for head, labels in HEADS.items():
        index = {name: row for row, name in config.id2label.get(head, {}).items()}
        rows = [index.get(label) for label in labels]
        if sorted(str(row) for row in rows) != sorted(str(i) for i in range(len(labels))):
            raise ArtifactError(
                f"The labels of head {head!r} in {folder / CONFIG} do not map to "
                f"{', '.join(labels)}: name each of them once in id2label."
            )
        if not config.temperatures.get(head, 0.0) > 0.0:
            raise ArtifactError(
                f"{folder / CONFIG} has no positive temperature for head {head!r}: calibrate it."
            )
        order = [int(row) for row in rows if row is not None]
        for kind in ("weight", "bias"):
            tensors[f"heads.{head}.{kind}"] = tensors[f"heads.{head}.{kind}"][order]
