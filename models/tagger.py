"""Texts -> `Tags`: normalising, tokenising, batching by length, the cache, calibration."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.artifact import DEFAULT_ARTIFACT, TaggingConfig
from models.backends.base import Backend
from models.backends.choice import Device
from models.calibration import softmax
from models.errors import ModelError
from models.serving import Answers, Loading, Model, load_models
from models.tags import HEADS, SENTIMENTS, TOPICS, ModelIdentity, Tags
from models.text import normalise

DECIMALS = 6

T = TypeVar("T")


class TaggingError(ModelError):
    """One text could not be tagged; says why. The texts beside it are not affected."""


class Tagger:
    """A loaded model. Tags of a text do not depend on what it is tagged with.

    Thread-safe; two callers keep the engine busy where one would leave it waiting between calls.
    """

    def __init__(
        self,
        model: Path = DEFAULT_ARTIFACT,
        *,
        sentiment_model: Path | None = None,
        topic_model: Path | None = None,
        device: Device = "auto",
        threads: int | None = None,
        cache_size: int = 50_000,
        compiled_cache: Path | None = None,
    ) -> None:
        """Loads and verifies what is in `model`: an artifact, or a classifier in the Hugging Face
        layout. A head that another folder is named for, or that `model` lacks, comes from there or
        from the artifact that ships. Raises `ModelError`s that say which file is wrong and how.

        `threads`: None for all cores. `cache_size`: texts whose tags are remembered, 0 for none.
        `compiled_cache`: a folder where the compiled graph is kept for the next start.
        """
        named = {"sentiment": sentiment_model, "topic": topic_model}
        loading = Loading(device, threads, compiled_cache)
        self.models: dict[str, Model] = load_models(model, named, loading)
        self.config: TaggingConfig = _joined_config(self.models)
        self.cache_hits = 0
        self.cache_misses = 0
        self._cache: OrderedDict[bytes, Tags] = OrderedDict()
        self._cache_size = cache_size
        self._lock = threading.Lock()

    @property
    def identity(self) -> ModelIdentity:
        """Which weights speak, and on which arithmetic: that of a GPU changes with its memory."""
        models = _distinct(self.models)
        checksums = [model.checksum for model in models]
        if len(models) > 1:
            checksums = [hashlib.sha256(" ".join(checksums).encode()).hexdigest()]
        return ModelIdentity(
            name=self.config.name,
            version=self.config.version,
            checksum=checksums[0],
            numeric_path="+".join(dict.fromkeys(m.backend.numeric_path for m in models)),
        )

    @property
    def backend(self) -> Backend:
        """The engine of the sentiment."""
        return self.models["sentiment"].backend

    def tag(self, texts: Sequence[str]) -> list[Tags | TaggingError]:
        """Tags in the order of `texts`; a text that makes the model fail has its error instead."""
        at_once = max(m.backend.texts_per_round for m in _distinct(self.models))
        results: list[Tags | TaggingError] = []
        for start in range(0, len(texts), at_once):
            results += self._tag_round(texts[start : start + at_once])
        return results

    def warm_up(self) -> None:
        """Runs each usual length once, so that no message waits for code to be made."""
        for model in _distinct(self.models):
            model.warm_up()

    def logits(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Uncalibrated logits for each head of `models.tags.HEADS`, rows in the order of `texts`.

        Past the cache; a failure is raised.
        """
        _, answers = self._answers([normalise(text) for text in texts])
        return [answers[head].logits[head] for head in HEADS]

    def probabilities(self, logits: NDArray[np.float32], head: str) -> NDArray[np.float64]:
        """Calibrated probabilities of a head's logits, not rounded."""
        return softmax(logits, self.config.temperatures[head])

    def _tag_round(self, texts: Sequence[str]) -> list[Tags | TaggingError]:
        normalised = [normalise(text) for text in texts]
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in normalised]
        texts_of = dict(zip(keys, normalised, strict=True))
        known = self._remembered(texts_of)
        fresh = [key for key in texts_of if key not in known]
        found = dict(zip(fresh, self._tag_or_retry([texts_of[key] for key in fresh]), strict=True))
        self._remember(found, hits=len(keys) - len(fresh))
        return [known[key] if key in known else found[key] for key in keys]

    def _remembered(self, keys: Iterable[bytes]) -> dict[bytes, Tags]:
        with self._lock:
            known = {key: self._cache[key] for key in keys if key in self._cache}
            for key in known:
                self._cache.move_to_end(key)
            return known

    def _remember(self, found: Mapping[bytes, Tags | TaggingError], hits: int) -> None:
        with self._lock:
            self.cache_hits += hits
            self.cache_misses += len(found)
            self._cache |= {key: tags for key, tags in found.items() if isinstance(tags, Tags)}
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _tag_or_retry(self, texts: list[str]) -> list[Tags | TaggingError]:
        try:
            return [*self._tags(texts)]
        except Exception as error:  # whatever a library raises, it may cost one text only
            if len(texts) == 1:
                return [TaggingError(f"The model failed on this text: {error!r}.")]
            half = len(texts) // 2
            return self._tag_or_retry(texts[:half]) + self._tag_or_retry(texts[half:])

    def _tags(self, texts: list[str]) -> list[Tags]:
        identity, answers = self._answers(texts)
        sentiments, topics = (
            self.probabilities(answers[head].logits[head], head).round(DECIMALS) for head in HEADS
        )
        unsure = sentiments.max(axis=1) < self.config.abstention_threshold
        columns = (
            sentiments.argmax(axis=1).tolist(),
            topics.argmax(axis=1).tolist(),
            map(tuple, sentiments.tolist()),
            map(tuple, topics.tolist()),
            (unsure | answers["sentiment"].wordless).tolist(),
        )
        return [
            Tags(
                sentiment=SENTIMENTS[sentiment],
                topic=TOPICS[topic],
                sentiments=of_sentiment,
                topics=of_topic,
                abstained=abstained,
                model=identity,
            )
            for sentiment, topic, of_sentiment, of_topic, abstained in zip(*columns, strict=True)
        ]

    def _answers(self, texts: list[str]) -> tuple[ModelIdentity, dict[str, Answers]]:
        """What each head's model says, and the one identity that all of it was computed under."""
        while True:
            identity = self.identity
            found = {id(model): model.answers(texts) for model in _distinct(self.models)}
            if self.identity == identity:
                return identity, {head: found[id(m)] for head, m in self.models.items()}


def _distinct(models: dict[str, Model]) -> list[Model]:
    return list({id(model): model for model in models.values()}.values())


def _joined_config(models: dict[str, Model]) -> TaggingConfig:
    """Each head's part from its own model; what concerns abstention from the sentiment's."""
    configs = {head: model.config for head, model in models.items()}
    sentiment = configs["sentiment"]
    if len(_distinct(models)) == 1:
        return sentiment
    return TaggingConfig(
        name="+".join(config.name for config in configs.values()),
        version="+".join(config.version for config in configs.values()),
        temperatures={head: config.temperatures[head] for head, config in configs.items()},
        abstention_threshold=sentiment.abstention_threshold,
        label_shares=_of_each(configs, lambda config: config.label_shares),
        mean_confidence=_of_each(configs, lambda config: config.mean_confidence),
        abstention_share=sentiment.abstention_share,
        marks_entities=sentiment.marks_entities,
    )


def _of_each(
    configs: dict[str, TaggingConfig], field: Callable[[TaggingConfig], dict[str, T]]
) -> dict[str, T]:
    return {head: field(c)[head] for head, c in configs.items() if head in field(c)}


_loaded: dict[tuple[Path | str | None, ...], Tagger] = {}
_loading = threading.Lock()


def load_tagger(
    model: Path = DEFAULT_ARTIFACT,
    *,
    sentiment_model: Path | None = None,
    topic_model: Path | None = None,
    device: Device = "auto",
    threads: int | None = None,
    cache_size: int = 50_000,
) -> Tagger:
    """The process's one `Tagger` for these files and device, loaded and warm; `threads` and
    `cache_size` count at the first call."""
    paths = (path and path.resolve() for path in (model, sentiment_model, topic_model))
    key = (*paths, device)
    with _loading:
        if key not in _loaded:
            tagger = Tagger(
                model,
                sentiment_model=sentiment_model,
                topic_model=topic_model,
                device=device,
                threads=threads,
                cache_size=cache_size,
            )
            tagger.warm_up()
            _loaded[key] = tagger
        return _loaded[key]
