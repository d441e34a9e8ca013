"""Texts -> `Tags`: normalising, tokenising, batching by length, the cache, calibration."""

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifact import DEFAULT_ARTIFACT, PADDING, load_artifact
from models.backends.base import Backend, TokenBatch
from models.backends.openvino import OpenVinoBackend
from models.calibration import softmax
from models.errors import ModelError
from models.tags import HEADS, SENTIMENTS, TOPICS, ModelIdentity, Tags
from models.text import normalise

TOKENS_PER_BATCH = 512
"""As many texts share a batch as fit this many tokens: the states then stay in the CPU's cache."""

TEXTS_PER_ROUND = 1_024
"""Texts that are tokenised and sorted by length together."""

DECIMALS = 6
_WITHOUT_WORDS = 2  # tokens that frame every text


class TaggingError(ModelError):
    """One text could not be tagged; says why. The texts beside it are not affected."""


class Tagger:
    """A loaded model. Tags of a text do not depend on what it is tagged with. Thread-safe."""

    def __init__(
        self,
        artifact: Path = DEFAULT_ARTIFACT,
        *,
        threads: int | None = None,
        cache_size: int = 50_000,
        compiled_cache: Path | None = None,
    ) -> None:
        """Loads and verifies the files in `artifact`; raises `ArtifactError`.

        `threads`: None for all cores. `cache_size`: texts whose tags are remembered, 0 for none.
        `compiled_cache`: a folder where the compiled graph is kept for the next start.
        """
        loaded = load_artifact(artifact)
        self._tokenizer = loaded.tokenizer
        self.config = loaded.config
        self.backend: Backend = OpenVinoBackend(loaded, threads, compiled_cache)
        self.identity = ModelIdentity(
            name=loaded.config.name,
            version=loaded.config.version,
            checksum=loaded.checksum,
            numeric_path=self.backend.numeric_path,
        )
        self.cache_hits = 0
        self.cache_misses = 0
        self._cache: OrderedDict[bytes, Tags] = OrderedDict()
        self._cache_size = cache_size
        self._lock = threading.Lock()

    def tag(self, texts: Sequence[str]) -> list[Tags | TaggingError]:
        """Tags in the order of `texts`; a text that makes the model fail has its error instead."""
        with self._lock:
            results: list[Tags | TaggingError] = []
            for start in range(0, len(texts), TEXTS_PER_ROUND):
                results += self._tag_round(texts[start : start + TEXTS_PER_ROUND])
            return results

    def warm_up(self) -> None:
        """Runs one batch of every padded length, so that no message waits for code to be made."""
        with self._lock:
            lengths = sorted({padded_length(n, self._longest) for n in range(1, self._longest + 1)})
            rows = (
                np.ones((max(1, TOKENS_PER_BATCH // length), length), np.int32)
                for length in lengths
            )
            for _ in self.backend.logits(rows):
                pass

    def logits(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Uncalibrated logits for each head of `models.tags.HEADS`, rows in the order of `texts`.

        Past the cache; a failure is raised.
        """
        with self._lock:
            return self._logits(self._tokens([normalise(text) for text in texts]))

    def probabilities(self, logits: NDArray[np.float32], head: str) -> NDArray[np.float64]:
        """Calibrated probabilities of a head's logits, not rounded."""
        return softmax(logits, self.config.temperatures[head])

    @property
    def _longest(self) -> int:
        return self.config.architecture.max_tokens

    def _tag_round(self, texts: Sequence[str]) -> list[Tags | TaggingError]:
        normalised = [normalise(text) for text in texts]
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in normalised]
        known: dict[bytes, Tags | TaggingError] = {}
        fresh: dict[bytes, str] = {}
        for key, text in zip(keys, normalised, strict=True):
            if key in fresh or key in known:
                self.cache_hits += 1
            elif key in self._cache:
                self.cache_hits += 1
                self._cache.move_to_end(key)
                known[key] = self._cache[key]
            else:
                self.cache_misses += 1
                fresh[key] = text
        found = self._tag_or_retry(list(fresh.values()))
        for key, result in zip(fresh, found, strict=True):
            known[key] = result
            if isinstance(result, Tags):
                self._remember(key, result)
        return [known[key] for key in keys]

    def _remember(self, key: bytes, tags: Tags) -> None:
        self._cache[key] = tags
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _tag_or_retry(self, texts: list[str]) -> list[Tags | TaggingError]:
        try:
            return list(self._tags(texts))
        except Exception as error:  # whatever a library raises, it may cost one text only
            if len(texts) == 1:
                return [TaggingError(f"The model failed on this text: {error!r}.")]
            return [result for text in texts for result in self._tag_or_retry([text])]

    def _tags(self, texts: list[str]) -> Iterator[Tags]:
        tokens = self._tokens(texts)
        rows = zip(*map(self._calibrated, self._logits(tokens), HEADS), strict=True)
        for ids, (sentiments, topics) in zip(tokens, rows, strict=True):
            unsure = max(sentiments) < self.config.abstention_threshold
            yield Tags(
                sentiment=SENTIMENTS[sentiments.index(max(sentiments))],
                topic=TOPICS[topics.index(max(topics))],
                sentiments=sentiments,
                topics=topics,
                abstained=unsure or len(ids) <= _WITHOUT_WORDS,
                model=self.identity,
            )

    def _calibrated(self, logits: NDArray[np.float32], head: str) -> list[tuple[float, ...]]:
        rounded = self.probabilities(logits, head).round(DECIMALS)
        return [tuple(row) for row in rounded.tolist()]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def _logits(self, tokens: list[list[int]]) -> list[NDArray[np.float32]]:
        answers = [np.empty((len(tokens), len(labels)), np.float32) for labels in HEADS.values()]
        parts = list(_batches([padded_length(len(ids), self._longest) for ids in tokens]))
        batches = (_filled([tokens[i] for i in rows], length) for length, rows in parts)
        for (_, rows), logits in zip(parts, self.backend.logits(batches), strict=True):
            for answer, values in zip(answers, logits, strict=True):
                answer[rows] = values
        return answers


def padded_length(tokens: int, longest: int) -> int:
    """The length a text is padded to: a function of the text alone, so that its tags are too."""
    step = 4 if tokens <= 48 else 16
    return min(longest, max(8, -(-tokens // step) * step))


def _batches(lengths: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Rows of equal padded length, `TOKENS_PER_BATCH` at most or a single one."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, length in enumerate(lengths):
        by_length[length].append(row)
    for length, rows in sorted(by_length.items()):
        size = max(1, TOKENS_PER_BATCH // length)
        for start in range(0, len(rows), size):
            yield length, rows[start : start + size]


def _filled(sequences: list[list[int]], length: int) -> TokenBatch:
    batch = np.full((len(sequences), length), PADDING, np.int32)
    for row, ids in zip(batch, sequences, strict=True):
        row[: len(ids)] = ids
    return batch


_loaded: dict[Path, Tagger] = {}
_loading = threading.Lock()


def load_tagger(
    artifact: Path = DEFAULT_ARTIFACT, *, threads: int | None = None, cache_size: int = 50_000
) -> Tagger:
    """The process's one `Tagger` for these files, loaded and warm; options count at first call."""
    path = artifact.resolve()
    with _loading:
        if path not in _loaded:
            tagger = Tagger(path, threads=threads, cache_size=cache_size)
            tagger.warm_up()
            _loaded[path] = tagger
        return _loaded[path]
