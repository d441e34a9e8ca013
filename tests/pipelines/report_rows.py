"""A small store to report on: two days of one company, and an alert whose messages are given."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from alerting.windows import Mood, Observation, fold, roll_up
from connectors.store import Store

CONFIGURATION = "5eed5eed5eed5eed"
START = datetime(2014, 1, 29, tzinfo=UTC)
PEAK = START + timedelta(days=1, hours=22)
RUN = {
    "manifest": {
        "code": "0.1.0",
        "sources": [{"name": "tweets.jsonl.gz", "sha256": "ab" * 32, "bytes": 7}],
        "model": {"name": "minilm", "version": "1", "checksum": "cd" * 32, "numeric_path": "int8"},
    },
    "counters": {"read": 12, "stored": 9, "duplicates": 2, "dead_letters": 1},
}


def name(key: str) -> str:
    """As `display_name`: the part after the colon."""
    return "the whole market" if key == "overall" else key.partition(":")[2]


def mood(sentiment: str = "negative", abstained: bool = False) -> Mood:
    """Sure of itself, whatever the sentiment."""
    return Mood(sentiment, 0.9, 0.08, 0.02, abstained)


def observation(number: int, at: datetime, **given: Any) -> Observation:
    """A negative first message of its story on AMZN."""
    return Observation(
        **{
            "message_id": f"t:{number}",
            "published_at": at,
            "source": "t",
            "mood": mood(),
            "topic": "Earnings",
            "entities": ("AMZN",),
            "listing": False,
            "repeat": False,
            "story": f"t:{number}",
        }
        | given
    )


def history() -> list[Observation]:
    """Two days with a neutral message every two hours, and five negative stories at 21:30."""
    quiet = [
        observation(
            at,
            START + timedelta(hours=2 * at),
            mood=mood("neutral"),
        )
        for at in range(24)
    ]
    surge = [
        observation(
            100 + at,
            PEAK - timedelta(minutes=30 - at),
            story="t:100" if at == 5 else f"t:{100 + at}",
            repeat=at == 5,
        )
        for at in range(6)
    ]
    return quiet + surge


def alert(**given: Any) -> dict[str, Any]:
    """A negative surge on AMZN, resolved after three hours."""
    return {
        "id": "a1",
        "key": "entity:AMZN",
        "kind": "negative_surge",
        "state": "resolved",
        "severity": "high",
        "opened_at": PEAK,
        "updated_at": PEAK,
        "resolved_at": PEAK + timedelta(hours=1),
        "peak_surprise": 6.5,
        "peak_observed": 5.0,
        "expected_at_peak": 0.8,
        "first_spike_id": "s1",
        "peak_spike_id": "s1",
        "last_spike_id": "s1",
        "spikes": 1,
        "evidence": {
            "window_end": PEAK.isoformat(),
            "scale_seconds": 3600,
            "log10_tail": -6.5,
            "negative_share": 1.0,
            "expected_negative_share": 0.1,
            "counts": {"negative": 6, "repeats": 1, "repeats_negative": 1},
            "sources": 1,
            "stories": 5,
            "message_ids": [f"t:{100 + at}" for at in range(6)],
        },
        "configuration": CONFIGURATION,
        "model": "minilm",
    } | given


@contextmanager
def filled(
    path: Path,
    *,
    texts: Sequence[str] = (),
    urls: Sequence[str] = (),
    alerts: Sequence[Mapping[str, Any]] = (alert(),),
    observations: Sequence[Observation] | None = None,
) -> Iterator[Store]:
    """A store of `history`; the messages of the surge have the texts and addresses given."""
    seen = history() if observations is None else observations
    given = {f"t:{100 + at}": text for at, text in enumerate(texts)}
    linked = {f"t:{100 + at}": url for at, url in enumerate(urls)}
    minutes = fold(seen, configuration=CONFIGURATION)
    stats = [stat for minute in minutes for stat in minute.stats.values()] + roll_up(minutes)
    with Store.open(path) as store:
        with store.transaction() as tx:
            tx.upsert("messages", [_message(one, given, linked) for one in seen])
            tx.upsert("tags", [_tags(one) for one in seen])
            tx.upsert(
                "window_stats",
                [msgspec.structs.asdict(stat) | {"frontier": stat.start} for stat in stats],
            )
            tx.upsert("alerts", alerts)
            tx.upsert("spikes", [_spike()] if alerts else [])
        yield store


def _message(
    seen: Observation, texts: Mapping[str, str], urls: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "id": seen.message_id,
        "source": seen.source,
        "published_at": seen.published_at,
        "text": texts.get(seen.message_id, f"$AMZN misses estimates, take {seen.message_id}"),
        "url": urls.get(seen.message_id),
        "entities": list(seen.entities),
    }


def _tags(seen: Observation) -> dict[str, Any]:
    return {
        "message_id": seen.message_id,
        "published_at": seen.published_at,
        "sentiment": seen.mood.sentiment,
        "topic": seen.topic,
        "negative": seen.mood.negative,
        "neutral": seen.mood.neutral,
        "positive": seen.mood.positive,
        "topics": [0.05] * 20,
        "abstained": seen.mood.abstained,
        "entities": list(seen.entities),
        "listing": seen.listing,
        "story": seen.story,
        "repeat": seen.repeat,
        "model": RUN["manifest"]["model"],
    }


def _spike() -> dict[str, Any]:
    return {
        "id": "s1",
        "key": "entity:AMZN",
        "kind": "negative_surge",
        "phase": "opening",
        "window_start": PEAK - timedelta(hours=1),
        "window_end": PEAK,
        "scale_seconds": 3600,
        "observed": 5.0,
        "expected": 0.8,
        "dispersion": 0.2,
        "log10_tail": -6.5,
        "surprise": 6.5,
        "threshold": 2.0,
        "severity": "high",
        "negative_share": 1.0,
        "expected_negative_share": 0.1,
        "counts": {},
        "message_ids": [],
        "configuration": CONFIGURATION,
        "model": "minilm",
        "final": True,
        "run_id": "r1",
    }
