"""One story that hits many companies and topics is one incident, of which their alerts are members.

An alert joins the incident that began with an alert of about the same time and mostly the same
stories. It is held against that first alert alone, so that an incident does not wander: a topic
that two companies surge in joins one of them and does not make the two one.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from alerting.spike import identity
from alerting.windows import OVERALL

APART = timedelta(hours=6)
"""Alerts that open further apart, in event time, are of different incidents."""

_ALIKE = 0.5
"""Least share of stories in common: shared / sqrt(one * other), Ochiai's coefficient."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and its incident; `opened_at` is event time, UTC. `stories`: what it opened with,
    none where it covers the whole market: that is about everything, so nothing joins it."""

    alert_id: str
    incident_id: str
    opened_at: datetime
    stories: tuple[str, ...]

    @property
    def is_first(self) -> bool:
        """Whether the incident began with it."""
        return self.incident_id == incident_id(self.alert_id)


def incident_id(first_alert_id: str) -> str:
    """One incident per alert that it began with."""
    return identity("incident", first_alert_id)


def member(
    alert_id: str, key: str, opened_at: datetime, stories: Iterable[str], known: Iterable[Member]
) -> Member:
    """The alert as a member of one of the `known` incidents, or of its own.

    Of several it joins the one most alike, then the nearest in time, then the smallest id.
    """
    mine = frozenset(stories)
    ranked = (
        (-_alike(mine, frozenset(one.stories)), abs(one.opened_at - opened_at), one.incident_id)
        for one in known
        if one.is_first
    )
    near = (rank for rank in ranked if -rank[0] >= _ALIKE and rank[1] <= APART)
    best = min(near, default=None)
    return Member(
        alert_id=alert_id,
        incident_id=best[2] if best else incident_id(alert_id),
        opened_at=opened_at,
        stories=() if key == OVERALL else tuple(sorted(mine)),
    )


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    if not one or not other:
        return 0.0
    return len(one & other) / math.sqrt(len(one) * len(other))
