"""Models made ready: which folder serves which head, on which engine."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.artifact import DEFAULT_ARTIFACT, PADDING, TaggingConfig, load_artifact
from models.backends.base import Backend, BackendError, TokenBatch
from models.backends.choice import Device, choose
from models.backends.openvino import OpenVinoBackend, artifact_graph
from models.checkpoints.cache import exported
from models.checkpoints.checkpoint import CheckpointError, is_checkpoint, read_checkpoint
from models.tags import HEADS
from models.text import MARKS

TEXTS_AT_ONCE = 1_024
"""Texts that are tokenised together, while the back end works on those before."""


class Answers(NamedTuple):
    """Rows in the order of the texts. `logits`: by head; `wordless`: no token but the framing."""

    logits: dict[str, NDArray[np.float32]]
    wordless: NDArray[np.bool_]


@dataclass
class Model:
    """A tokenizer in front of a back end. `heads` are those that the back end answers for.

    `padding`: the token that fills up a batch, which no text contains. `max_tokens`: what is read
    of a text, framing tokens included.
    """

    config: TaggingConfig
    checksum: str
    heads: tuple[str, ...]
    tokenizer: Tokenizer
    padding: int
    max_tokens: int
    backend: Backend

    def __post_init__(self) -> None:
        self.tokenizer.enable_truncation(self.max_tokens)

    def answers(self, texts: Sequence[str]) -> Answers:
        """What the model says of normalised texts; raises what its libraries raise."""
        logits = {head: np.empty((len(texts), len(HEADS[head])), np.float32) for head in self.heads}
        tokens = np.empty(len(texts), np.int64)
        places: list[list[int]] = []
        answered = 0
        for found in self.backend.logits(self._batches(texts, tokens, places)):
            for head, values in zip(self.heads, found, strict=True):
                logits[head][places[answered]] = values[: len(places[answered])]
            answered += 1
        if answered != len(places):
            raise BackendError(f"The back end answered {answered} of {len(places)} batches.")
        return Answers(logits, tokens <= self.tokenizer.num_special_tokens_to_add(False))

    def warm_up(self, longest: int = 96) -> None:
        """Runs one batch of every padded length of usual messages: the engine then has its code."""
        longest = min(longest, self.max_tokens)
        lengths = sorted({padded_length(n, longest) for n in range(1, longest + 1)})
        token = 0 if self.padding else 1
        rows = (np.full((self._rows(length), length), token, np.int32) for length in lengths)
        for _ in self.backend.logits(rows):
            pass

    def _rows(self, length: int) -> int:
        return max(1, self.backend.tokens_per_batch // length)

    def _batches(
        self, texts: Sequence[str], tokens: NDArray[np.int64], places: list[list[int]]
    ) -> Iterator[TokenBatch]:
        """Rows of equal padded length; notes each text's tokens, and which texts a batch holds."""
        waiting: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        seen = 0
        for part in self._tokenised(texts):
            for row, ids in enumerate(part, seen):
                tokens[row] = len(ids)
                waiting[padded_length(len(ids), self.max_tokens)].append((row, ids))
            seen += len(part)
            for length in sorted(waiting):
                rows, held = self._rows(length), waiting[length]
                while len(held) >= rows or (held and seen == len(texts)):
                    batch, held = held[:rows], held[rows:]
                    places.append([row for row, _ in batch])
                    yield self._filled([ids for _, ids in batch], length)
                waiting[length] = held

    def _tokenised(self, texts: Sequence[str]) -> Iterator[list[list[int]]]:
        parts = [texts[i : i + TEXTS_AT_ONCE] for i in range(0, len(texts), TEXTS_AT_ONCE)]
        if len(parts) < 2:
            yield from map(self._ids, parts)
            return
        with ThreadPoolExecutor(1, "tokenise") as ahead:
            yield from ahead.map(self._ids, parts)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        known = texts if self.config.marks_entities else [MARKS.sub("", text) for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(known))]

    def _filled(self, sequences: list[list[int]], length: int) -> TokenBatch:
        """The texts, and behind them the first again up to a usual number of rows: to an engine
        every shape is new code to make."""
        rows = padded_rows(len(sequences), self._rows(length))
        batch = np.full((rows, length), self.padding, np.int32)
        for row, ids in zip(batch, sequences, strict=False):
            row[: len(ids)] = ids
        batch[len(sequences) :] = batch[0]
        return batch


def padded_length(tokens: int, longest: int) -> int:
    """The length a text is padded to: a function of the text alone, so that its tags are too."""
    step = 4 if tokens <= 48 else 16
    return min(longest, max(8, -(-tokens // step) * step))


def padded_rows(rows: int, most: int) -> int:
    """The rows a batch is filled up to: 1, 2, 4, and on in fours."""
    step = 4 if rows > 2 else 1
    return min(most, -(-rows // step) * step)


class Loading(NamedTuple):
    """How models are made ready: see `models.tagger.Tagger`."""

    device: Device = "auto"
    threads: int | None = None
    compiled_cache: Path | None = None


def load_models(
    folder: Path, of_head: Mapping[str, Path | None], loading: Loading
) -> dict[str, Model]:
    """The model of each head: the folder named for it, else `folder`, else the one that ships.

    Each folder is loaded once. Raises `ModelError`s of artifact, checkpoint and back end.
    """
    loaded: dict[Path, Model] = {}

    def model(path: Path) -> Model:
        if path not in loaded:
            loaded[path] = _load(path, loading)
        return loaded[path]

    chosen = {}
    for head in HEADS:
        named = of_head.get(head)
        chosen[head] = model(named or folder)
        if head not in chosen[head].heads:
            if named:
                raise CheckpointError(
                    f"tag.{head}_model is {named}, which knows {', '.join(chosen[head].heads)} "
                    f"alone: name a folder whose id2label has the labels of {head}."
                )
            chosen[head] = model(DEFAULT_ARTIFACT)
    return chosen


def _load(folder: Path, loading: Loading) -> Model:
    return (_of_checkpoint if is_checkpoint(folder) else _of_artifact)(folder, loading)


def _of_artifact(folder: Path, loading: Loading) -> Model:
    artifact = load_artifact(folder)
    backend: Backend
    if choose(loading.device).device == "cuda":
        from models.backends.pytorch import artifact_backend

        backend = artifact_backend(artifact, "cuda")
    else:
        graph = artifact_graph(artifact)
        backend = OpenVinoBackend(graph, "int8", loading.threads, loading.compiled_cache)
    return Model(
        config=artifact.config,
        checksum=artifact.checksum,
        heads=tuple(HEADS),
        tokenizer=artifact.tokenizer,
        padding=PADDING,
        max_tokens=artifact.config.architecture.max_tokens,
        backend=backend,
    )


def _of_checkpoint(folder: Path, loading: Loading) -> Model:
    """In fp32: a checkpoint was not trained to be rounded."""
    checkpoint = read_checkpoint(folder)
    backend: Backend
    if choose(loading.device).device == "cuda":
        from models.backends.pytorch import PyTorchBackend
        from models.checkpoints.network import load_network

        network, max_tokens = load_network(checkpoint)
        backend = PyTorchBackend(network, "cuda", "f32")
    else:
        graph, max_tokens = exported(checkpoint)
        backend = OpenVinoBackend(graph, "f32", loading.threads, loading.compiled_cache)
    return Model(
        config=checkpoint.config,
        checksum=checkpoint.checksum,
        heads=tuple(checkpoint.columns),
        tokenizer=checkpoint.tokenizer,
        padding=checkpoint.padding,
        max_tokens=max_tokens,
        backend=backend,
    )
