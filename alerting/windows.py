"""Tagged observations to one-minute buckets, and minutes to hours.

All sums are integers (weights and scores in millionths), so a bucket does not depend on the order
in which its observations came.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import msgspec

MILLION = 1_000_000
"""One message's full weight."""

EVIDENCE_PER_MINUTE = 5
"""How many messages a bucket names: new stories, negative ones first, heaviest first."""

OVERALL = "overall"


class Mood(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sentiment and its three probabilities. `abstained`: the model was too unsure."""

    sentiment: str
    negative: float
    neutral: float
    positive: float
    abstained: bool


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One tagged message. `published_at` is UTC.

    `mood` is the text's; `by_entity` that towards one of several companies, where it is known.

    `repeat`: the message is not the first of its `story`. `listing`: the text is a string of
    cashtags and says nothing about any of them.
    """

    message_id: str
    published_at: datetime
    source: str
    mood: Mood
    topic: str
    entities: tuple[str, ...]
    listing: bool
    repeat: bool
    story: str
    by_entity: dict[str, Mood] = {}


class WindowStats(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counts of one key in one bucket of `seconds` from `start` (UTC).

    `negative + neutral + positive + abstained == messages`; the `new_*` count first messages of a
    story that were not abstained on, `repeats` the others. Weights and `score_sum` are in
    millionths; `weight_new` covers every new story, abstained ones too. `sources` is distinct.
    """

    schema: int = 1
    key: str
    start: datetime
    seconds: int
    messages: int = 0
    negative: int = 0
    neutral: int = 0
    positive: int = 0
    abstained: int = 0
    new_negative: int = 0
    new_neutral: int = 0
    new_positive: int = 0
    repeats: int = 0
    repeats_negative: int = 0
    weight_new: int = 0
    weight_new_negative: int = 0
    weight_repeats: int = 0
    weight_repeats_negative: int = 0
    score_sum: int = 0
    sources: int = 0
    final: bool = True
    configuration: str = ""


class EvidenceRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that weighs in a bucket: `weight` in millionths, `negative` its probability."""

    message_id: str
    published_at: datetime
    weight: int
    negative: float


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """All buckets of one minute, by key in sorted order; a key that is not there counted nothing.

    `evidence` and `sources` (names, sorted) have the keys of `stats`.
    """

    start: datetime
    stats: dict[str, WindowStats]
    evidence: dict[str, tuple[EvidenceRef, ...]]
    sources: dict[str, tuple[str, ...]]


_COUNTERS = (
    "messages",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "new_negative",
    "new_neutral",
    "new_positive",
    "repeats",
    "repeats_negative",
    "weight_new",
    "weight_new_negative",
    "weight_repeats",
    "weight_repeats_negative",
    "score_sum",
)
_AT = {name: index for index, name in enumerate(_COUNTERS)}
_ABSTAINED, _REPEATS, _REPEATS_NEGATIVE = _AT["abstained"], _AT["repeats"], _AT["repeats_negative"]
_WEIGHT_NEW, _WEIGHT_REPEATS = _AT["weight_new"], _AT["weight_repeats"]
_SCORE = _AT["score_sum"]
_LABEL = {"negative": _AT["negative"], "neutral": _AT["neutral"], "positive": _AT["positive"]}
_NEW_OFFSET = _AT["new_negative"] - _AT["negative"]


class _Bucket:
    __slots__ = ("counters", "evidence", "sources")

    def __init__(self) -> None:
        self.counters = [0] * len(_COUNTERS)
        self.sources: set[str] = set()
        self.evidence: list[tuple[bool, int, float, datetime, str]] = []

    def add(self, seen: Observation, mood: Mood, weight: int) -> None:
        counters = self.counters
        counters[0] += 1
        negative = not mood.abstained and mood.sentiment == "negative"
        label = _ABSTAINED if mood.abstained else _LABEL[mood.sentiment]
        counters[label] += 1
        counters[_SCORE] += round((mood.positive - mood.negative) * weight)
        self.sources.add(seen.source)
        if seen.repeat:
            counters[_REPEATS] += 1
            counters[_WEIGHT_REPEATS] += weight
            if negative:
                counters[_REPEATS_NEGATIVE] += 1
                counters[_WEIGHT_REPEATS + 1] += weight
            return
        counters[_WEIGHT_NEW] += weight
        if not mood.abstained:
            counters[label + _NEW_OFFSET] += 1
        if negative:
            counters[_WEIGHT_NEW + 1] += weight
        if weight:
            rank = (not negative, -weight, -mood.negative, seen.published_at, seen.message_id)
            self.evidence.append(rank)

    def heaviest(self) -> tuple[EvidenceRef, ...]:
        if not self.evidence:
            return ()
        ranked = sorted(self.evidence)[:EVIDENCE_PER_MINUTE]
        return tuple(EvidenceRef(name, at, -weight, -p) for _, weight, p, at, name in ranked)


def weighted_keys(seen: Observation) -> Iterator[tuple[str, Mood, int]]:
    """The keys an observation counts for, with its mood there and its weight in millionths.

    1 overall and for its topic, 1/n for each of its n entities. A listing is counted overall and
    under its topic but weighs nothing there, and does not touch the entities it lists.
    """
    mood, weight = seen.mood, 0 if seen.listing else MILLION
    yield OVERALL, mood, weight
    yield f"topic:{seen.topic}", mood, weight
    if not seen.listing and seen.entities:
        entities = dict.fromkeys(seen.entities)
        for entity in entities:
            yield f"entity:{entity}", seen.by_entity.get(entity, mood), MILLION // len(entities)


def fold(
    observations: Iterable[Observation], *, configuration: str, final: bool = True
) -> list[Minute]:
    """One-minute buckets of the observations, by time; only minutes that hold any.

    The result does not depend on the order of the observations; each must occur once.
    """
    minutes: dict[datetime, dict[str, _Bucket]] = {}
    for seen in observations:
        start = seen.published_at.replace(second=0, microsecond=0)
        buckets = minutes.setdefault(start, {})
        for key, mood, weight in weighted_keys(seen):
            bucket = buckets.get(key)
            if bucket is None:
                bucket = buckets[key] = _Bucket()
            bucket.add(seen, mood, weight)
    return [_minute(start, minutes[start], configuration, final) for start in sorted(minutes)]


def _minute(
    start: datetime, buckets: dict[str, _Bucket], configuration: str, final: bool
) -> Minute:
    keys = sorted(buckets)
    return Minute(
        start=start,
        stats={key: _stats(key, start, buckets[key], configuration, final) for key in keys},
        evidence={key: buckets[key].heaviest() for key in keys},
        sources={key: tuple(sorted(buckets[key].sources)) for key in keys},
    )


def _stats(
    key: str, start: datetime, bucket: _Bucket, configuration: str, final: bool
) -> WindowStats:
    # Written out, because this runs three times a message and unpacking a dict costs as much again.
    counters = bucket.counters
    return WindowStats(
        key=key,
        start=start,
        seconds=60,
        messages=counters[0],
        negative=counters[1],
        neutral=counters[2],
        positive=counters[3],
        abstained=counters[4],
        new_negative=counters[5],
        new_neutral=counters[6],
        new_positive=counters[7],
        repeats=counters[8],
        repeats_negative=counters[9],
        weight_new=counters[10],
        weight_new_negative=counters[11],
        weight_repeats=counters[12],
        weight_repeats_negative=counters[13],
        score_sum=counters[14],
        sources=len(bucket.sources),
        final=final,
        configuration=configuration,
    )


def roll_up(minutes: Iterable[Minute]) -> list[WindowStats]:
    """Hours from minutes in order of time, by (start, key); final where all their minutes are."""
    return [
        _rolled(hour, key, held)
        for hour, within in groupby(minutes, lambda minute: minute.start.replace(minute=0))
        for key, held in sorted(_by_key(within).items())
    ]


def _by_key(minutes: Iterable[Minute]) -> dict[str, list[Minute]]:
    held: defaultdict[str, list[Minute]] = defaultdict(list)
    for minute in minutes:
        for key in minute.stats:
            held[key].append(minute)
    return held


def _rolled(hour: datetime, key: str, minutes: list[Minute]) -> WindowStats:
    parts = [minute.stats[key] for minute in minutes]
    changed: dict[str, object] = {"start": hour, "seconds": 3600}
    if len(parts) > 1:  # most keys count in one minute of an hour only
        changed["final"] = all(part.final for part in parts)
        changed["sources"] = len({name for minute in minutes for name in minute.sources[key]})
        changed |= zip(
            _COUNTERS, map(sum, zip(*map(_counters_of, parts), strict=True)), strict=True
        )
    return msgspec.structs.replace(parts[0], **changed)


_counters_of = attrgetter(*_COUNTERS)
