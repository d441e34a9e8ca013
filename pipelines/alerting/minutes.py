"""What the watch step has committed since: closed minutes in order, each with its spikes.

A minute that counted something has an `overall` row; it and the minute's spikes, which end with it,
come in one commit.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, select

from alerting.spike import Spike
from alerting.windows import OVERALL
from connectors.store.schema import spikes, window_stats
from connectors.store.transaction import rows

MINUTE = timedelta(minutes=1)

_ORDER = ("negative_surge", "slow_drift", "amplification", "volume")
"""In which the detector reports the spikes of a key."""

_SPIKE = [spikes.c[name] for name in Spike.__struct_fields__ if name in spikes.c]

Minute = tuple[datetime, list[Spike]]


@dataclass
class Minutes:
    """`final`: what no later message changes, `tail`: what lies beyond that; `more`: the final ones
    are not all there, and the tail is left out until they are."""

    final: list[Minute] = field(default_factory=list)
    tail: list[Minute] = field(default_factory=list)
    more: bool = False


def read(connection: Connection, configuration: str, after: datetime, most: int) -> Minutes:
    """The minutes of a configuration that start later than `after` (UTC), `most` final ones.

    `connection`: of one consistent moment (`Store.snapshot`). Minutes become final in their order:
    a provisional one before a final one counts no more.
    """
    window = window_stats.c
    of = (
        window.configuration == configuration,
        window.key == OVERALL,
        window.seconds == 60,
    )
    query = select(window.start).where(*of).order_by(window.start)
    final = _starts(connection, query.where(window.start > after, window.final).limit(most))
    more = len(final) == most
    frontier = final[-1] if final else after
    tail = [] if more else _starts(connection, query.where(window.start > frontier, ~window.final))
    starts = [*final, *tail]
    if not starts:
        return Minutes()
    found = _spikes(connection, configuration, starts[0] + MINUTE, starts[-1] + MINUTE)
    return Minutes(
        [(start, [one for one in found[start + MINUTE] if one.final]) for start in final],
        [(start, found[start + MINUTE]) for start in tail],
        more,
    )


def _starts(connection: Connection, query: Select[Any]) -> list[datetime]:
    return [row["start"] for row in rows(connection, query)]


def _spikes(
    connection: Connection, configuration: str, first: datetime, last: datetime
) -> defaultdict[datetime, list[Spike]]:
    query = select(*_SPIKE).where(
        spikes.c.configuration == configuration, spikes.c.window_end.between(first, last)
    )
    by_end: defaultdict[datetime, list[Spike]] = defaultdict(list)
    for spike in sorted(map(_spike, rows(connection, query)), key=_reported):
        by_end[spike.window_end].append(spike)
    return by_end


def _spike(row: dict[str, Any]) -> Spike:
    return Spike(**{**row, "message_ids": tuple(row["message_ids"])})


def _reported(spike: Spike) -> tuple[str, int]:
    return spike.key, _ORDER.index(spike.kind)
