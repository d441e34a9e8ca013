"""The figures of the dashboards, counted in pandas from messages and tags alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from alerting.windows import MILLION
from connectors.store import Store, schema
from pipelines.dashboards.asking import Scope

MOODS = ("negative", "neutral", "positive", "unsure")


@dataclass(frozen=True)
class Raw:
    """What lies in the store, and what is looked at. `counted`: a row for each message and key."""

    tables: dict[str, pd.DataFrame]
    counted: pd.DataFrame
    scope: Scope
    interval: int

    @classmethod
    def of(cls, store: Store, scope: Scope, interval: int) -> "Raw":
        names = ("messages", "tags", "spikes", "alerts", "alert_events", "runs")
        names += ("dead_letters", "late_messages", "deliveries")
        tables = {
            name: pd.DataFrame(
                store.rows(select(schema.metadata.tables[name])),
                columns=list(schema.metadata.tables[name].columns.keys()),
            )
            for name in names
        }
        return cls(tables, _counted(tables["tags"]), scope, interval)

    def of_key(self, key: str, seconds: int) -> pd.DataFrame:
        """What counts for the key in buckets of `seconds` that begin in the time shown."""
        return self.shown(self.counted[self.counted.key == key], seconds)

    def shown(self, frame: pd.DataFrame, seconds: int = 0) -> pd.DataFrame:
        """Rows in the time shown, by their bucket; by their own time for 0."""
        at = frame.epoch // seconds * seconds if seconds else frame.epoch
        inside = (at >= self.scope.start.timestamp()) & (at <= self.scope.end.timestamp())
        return frame[inside].assign(bucket=at[inside])

    @property
    def step(self) -> int:
        """Seconds of the buckets that a chart over time reads."""
        return 3600 if self.interval >= 3600 else 60

    @property
    def whole(self) -> int:
        """Seconds of the buckets that a sum over the time shown reads."""
        return 3600 if (self.scope.end - self.scope.start).total_seconds() > 172_800 else 60

    def over_time(self, key: str) -> Any:
        found = self.of_key(key, self.step)
        return found.groupby(found.bucket // self.interval * self.interval)

    def without_holes(self, rows: list[tuple[Any, ...]], value: Any) -> list[tuple[Any, ...]]:
        """The rows, and one of `value` for each interval of the time shown that has none."""
        begin, end = self.scope.start.timestamp(), self.scope.end.timestamp()
        times = np.arange(begin // self.interval * self.interval, end + 1, self.interval)
        found = pd.DataFrame(rows).set_index(0).astype(object)
        full = found.reindex(times[times <= end], fill_value=value)
        return list(full.itertuples(name=None))

    def table(self, name: str, time: str | None = None) -> pd.DataFrame:
        """A table, or its rows within the time shown by a column."""
        frame = self.tables[name]
        if time is None:
            return frame
        return frame[(frame[time] >= self.scope.start) & (frame[time] <= self.scope.end)]


def _counted(tags: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for tag in tags.to_dict("records"):
        at = tag["published_at"].timestamp()
        own, entities = tag["by_entity"] or {}, list(dict.fromkeys(tag["entities"]))
        keys = [("overall", tag, 0 if tag["listing"] else MILLION)]
        keys.append((f"topic:{tag['topic']}", *keys[0][1:]))
        if not tag["listing"]:
            keys += [
                (f"entity:{name}", own.get(name, tag), MILLION // len(entities))
                for name in entities
            ]
        for key, mood, weight in keys:
            said = "unsure" if mood["abstained"] else mood["sentiment"]
            rows.append((tag["message_id"], key, at, said, bool(tag["repeat"]), weight))
    frame = pd.DataFrame(rows, columns=["id", "key", "epoch", "mood", "repeat", "weight"])
    frame["new_negative"] = (frame.mood == "negative") & ~frame["repeat"]
    return frame


def moods(frame: pd.DataFrame) -> list[int]:
    """Messages by mood, in the order of `MOODS`."""
    return [int((frame.mood == mood).sum()) for mood in MOODS]


def negative_share(frame: pd.DataFrame) -> float | None:
    negative, neutral, positive, _ = moods(frame)
    decided = negative + neutral + positive
    return negative / decided if decided else None


def balance(frame: pd.DataFrame) -> float | None:
    negative, neutral, positive, _ = moods(frame)
    decided = negative + neutral + positive
    return (positive - negative) / decided if decided else None


def usual(raw: Raw, key: str) -> list[tuple[float, ...]]:
    """Hour, stories in it, the mean hour of the 28 days before, and two deviations above: from the
    first hour of the key to the last of any."""
    mine = raw.counted[raw.counted.key == key]
    stories = (mine.weight * mine.new_negative / MILLION).groupby(mine.epoch // 3600 * 3600).sum()
    every = raw.counted[raw.counted.key == "overall"].epoch // 3600 * 3600
    last = every[every <= raw.scope.end.timestamp()].max()
    stories = stories.reindex(np.arange(stories.index[0], last + 1, 3600), fill_value=0)
    rows = []
    for hour in stories.index:
        before = stories[(stories.index >= hour - 28 * 86_400) & (stories.index < hour)]
        hours = np.clip((hour - stories.index[0]) / 3600, 1, 28 * 24)
        mean = before.sum() / hours
        spread = np.sqrt(max(0, (before**2).sum() / hours - mean**2))
        rows.append((hour, stories[hour], mean, mean + 2 * spread))
    return [row for row in rows if row[0] >= raw.scope.start.timestamp()]


def movers(raw: Raw, prefix: str) -> list[tuple[Any, ...]]:
    frame = raw.counted[raw.counted.key.str.startswith(prefix)]
    begin, end = raw.scope.start.timestamp(), raw.scope.end.timestamp()
    half = (begin + end) / 2
    if end - begin > 604_800:
        half = half // 86_400 * 86_400
    rows = []
    for key, mine in raw.shown(frame, raw.whole).groupby("key"):
        late = mine.bucket >= half
        new = mine.new_negative
        change = int(new[late].sum() - new[~late].sum())
        name = str(key).removeprefix(prefix)
        rows.append((name, int(new.sum()), change, len(mine), negative_share(mine)))
    return sorted(rows, key=lambda row: (-row[1], -row[3], row[0]))[:25]
