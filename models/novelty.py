"""Novelty: is a message the first of its story, or does it repeat one of the last 24 hours?

A story is what its first message says, in order of (`published_at`, `id`). A retweet, a reprint or
a near-duplicate within the horizon of that first message repeats it. Two texts are near-duplicates
when the Jaccard similarity of their sets of words is high and they speak of a common entity (or
both of none): "Zacks downgrades Apple to hold" does not repeat "Zacks downgrades Intel to hold".

Candidates are found by MinHash with banding (Broder 1997; Indyk & Motwani 1998) and confirmed on
the sets themselves. The state is kept in segments of one hour of event time, so that a run stores
only the segments that a slice has changed.
"""

import hashlib
import html
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from models.errors import ModelError

VERSION = 1
HOUR = 3_600_000_000
"""Microseconds in a segment."""

_BANDS, _ROWS = 6, 3  # two texts at similarity .75 meet with p = .96, at .3 with p = .15
_PRIME = np.uint64((1 << 61) - 1)
_SHORT = 4  # texts of fewer words only repeat each other word for word
_BUCKET = 32  # stories compared at most for one band: bounds the work on hostile text
_WORDS = 256  # words of a text that take part

_RETWEET = re.compile(r"^(?:\s*(?:RT|MT|via)\s+@\w+\s*:?)+", re.IGNORECASE)
_NOISE = re.compile(r"https?://\S*|www\.\S+|@\w+|\S*…$")
_WORD = re.compile(r"[$#]?\w+(?:[.,]\d+)*%?")

_random = np.random.default_rng(20140130)
_MULTIPLY = _random.integers(1, 1 << 28, size=_BANDS * _ROWS, dtype=np.uint64)
_ADD = _random.integers(0, 1 << 60, size=_BANDS * _ROWS, dtype=np.uint64)


class StateError(ModelError):
    """A stored state that this version cannot read."""


class NoveltySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`horizon_hours`: how long a story can be repeated. `capacity`: stories remembered at most."""

    horizon_hours: int = 24
    similarity: float = 0.7
    capacity: int = 200_000


class Story(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of a story's first message. `words`: sorted hashes; `at`: microseconds."""

    id: str
    at: int
    exact: int
    bands: tuple[int, ...]
    words: tuple[int, ...]
    entities: tuple[str, ...]


class _Segment(msgspec.Struct, array_like=True):
    version: int
    stories: list[Story]


class Novelty:
    """The stories of the last hours. `step` must be called in order of (`published_at`, `id`)."""

    def __init__(self, settings: NoveltySettings | None = None) -> None:
        self.settings = settings or NoveltySettings()
        self._segments: OrderedDict[int, list[Story]] = OrderedDict()
        self._exact: dict[int, Story] = {}
        self._bands: dict[int, list[Story]] = {}
        self._size = 0
        self._changed: set[int] = set()

    def step(self, message_id: str, at: int, text: str, entities: Sequence[str] = ()) -> str:
        """The id of the story's first message: `message_id` itself where the message is new.

        `at` is the event time in microseconds since 1970, UTC.
        """
        self._expire(at)
        words = story_words(text)
        if not words:
            return message_id
        exact = _fingerprint(words)
        told = self._exact.get(exact)
        if told is not None:
            return told.id
        distinct = tuple(
            sorted({zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words})
        )
        bands = _band_keys(distinct) if len(distinct) >= _SHORT else ()
        about = tuple(entities)
        told = self._similar(bands, distinct, about)
        if told is not None:
            return told.id
        self._remember(Story(message_id, at, exact, bands, distinct, about))
        return message_id

    def _similar(
        self, bands: tuple[int, ...], words: tuple[int, ...], entities: tuple[str, ...]
    ) -> Story | None:
        mine, seen = frozenset(words), set()
        best: tuple[float, int, str, Story] | None = None
        for band in bands:
            for story in self._bands.get(band, ()):
                if story.id in seen:
                    continue
                seen.add(story.id)
                if (story.entities or entities) and not set(story.entities) & set(entities):
                    continue
                shared = len(mine.intersection(story.words))
                similarity = shared / (len(mine) + len(story.words) - shared)
                found = (-similarity, story.at, story.id, story)
                if similarity >= self.settings.similarity and (best is None or found < best):
                    best = found
        return best[3] if best else None

    def _remember(self, story: Story) -> None:
        """Forgets the oldest hour where memory is full; one hour that fills it stops learning."""
        hour = story.at // HOUR
        while self._size >= self.settings.capacity:
            if (oldest := next(iter(self._segments))) == hour:
                return
            self._drop(oldest)
        self._segments.setdefault(hour, []).append(story)
        self._changed.add(hour)
        self._index(story)

    def _index(self, story: Story) -> None:
        self._size += 1
        self._exact[story.exact] = story
        for band in story.bands:
            bucket = self._bands.setdefault(band, [])
            if len(bucket) < _BUCKET:
                bucket.append(story)

    def _expire(self, at: int) -> None:
        oldest = at // HOUR - self.settings.horizon_hours
        while self._segments and (hour := next(iter(self._segments))) < oldest:
            self._drop(hour)

    def _drop(self, hour: int) -> None:
        self._changed.add(hour)
        for story in self._segments.pop(hour):
            self._size -= 1
            if self._exact.get(story.exact) is story:
                del self._exact[story.exact]
            for band in story.bands:
                bucket = [other for other in self._bands.get(band, ()) if other is not story]
                if bucket:
                    self._bands[band] = bucket
                else:
                    self._bands.pop(band, None)

    def copy(self) -> "Novelty":
        """Another memory of the same stories; none of them counts as changed in it."""
        other = Novelty(self.settings)
        other._segments = OrderedDict((hour, [*held]) for hour, held in self._segments.items())
        other._exact = dict(self._exact)
        other._bands = {band: [*bucket] for band, bucket in self._bands.items()}
        other._size = self._size
        return other

    def changes(self) -> Iterator[tuple[int, bytes | None]]:
        """The segments changed since the last call: (hour, bytes), or None for one that is gone."""
        for hour in sorted(self._changed):
            stories = self._segments.get(hour)
            yield hour, None if stories is None else encode_segment(stories)
        self._changed.clear()

    def load(self, hour: int, payload: bytes) -> None:
        """Takes back one segment; segments must come in order of their hour."""
        stories = decode_segment(payload)
        self._segments[hour] = stories
        for story in stories:
            self._index(story)


def encode_segment(stories: list[Story]) -> bytes:
    return msgspec.msgpack.encode(_Segment(VERSION, stories))


def decode_segment(payload: bytes) -> list[Story]:
    """Raises `StateError` for bytes of another version or no segment at all."""
    try:
        segment = msgspec.msgpack.decode(payload, type=_Segment)
    except msgspec.DecodeError as error:
        raise StateError(f"The stored state of novelty cannot be read ({error}).") from error
    if segment.version != VERSION:
        raise StateError(
            f"The stored state of novelty has version {segment.version}; this release reads "
            f"{VERSION}. Replay into a new database, or use the release that wrote this one."
        )
    return segment.stories


def story_words(text: str) -> list[str]:
    """The words that make a story: without retweet marks, links, names of people addressed."""
    plain = _RETWEET.sub("", html.unescape(text))
    return _WORD.findall(_NOISE.sub(" ", plain).casefold())[:_WORDS]


def _fingerprint(words: Sequence[str]) -> int:
    joined = " ".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest())


def _band_keys(words: Sequence[int]) -> tuple[int, ...]:
    hashes = np.asarray(words, dtype=np.uint64)[:, None] * _MULTIPLY + _ADD
    rows = (hashes % _PRIME).min(axis=0).reshape(_BANDS, _ROWS)
    return tuple(zlib.crc32(row.tobytes()) << 3 | band for band, row in enumerate(rows))
