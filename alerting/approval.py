"""What takes two people: a version of the rules is proposed by one and approved by another.

A version is named by the hash of its text, so that what was approved is what comes into force.
`follow_rules` is the one reading of the ledger: an approval counts once, and until another version
comes into force.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from alerting.decisions import person, stated
from alerting.errors import DecisionRefused
from alerting.ledger import LedgerRow

RULES = "rules:"
"""How the subject of an event on a version of the rules begins; its hash follows."""

SEEN, PROPOSED, APPROVED, REFUSED, IN_FORCE = (
    "rules-seen",
    "rules-proposed",
    "rules-approved",
    "rules-refused",
    "rules-in-force",
)
"""The events: found in the file and not in force, then what people do, then what comes of it."""

State = Literal["seen", "proposed", "approved", "refused", "lapsed", "in force", "former"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules as the ledger tells of it; `since` (UTC) it is in its state.

    `seen`: in the file, and nobody has proposed it. `lapsed`: approved, and another one came into
    force since.
    """

    id: str
    state: State
    since: datetime
    proposed_by: str | None = None
    reason: str | None = None
    decided_by: str | None = None
    refusal: str | None = None


def follow_rules(rows: Iterable[LedgerRow]) -> dict[str, Version]:
    """Every version by its hash, after these events on rules, which come in their order."""
    known: dict[str, Version] = {}
    for row in rows:
        name = str(row.subject).removeprefix(RULES)
        before = known.get(name) or Version(id=name, state="seen", since=row.recorded_at)
        match row.event:
            case "rules-seen":
                changes = {"state": "seen", "proposed_by": None, "decided_by": None}
            case "rules-proposed":
                reason = row.details.get("reason")
                changes = {"state": "proposed", "proposed_by": row.actor, "reason": reason}
                changes |= {"decided_by": None, "refusal": None}
            case "rules-approved":
                changes = {"state": "approved", "decided_by": row.actor}
            case "rules-refused":
                refusal = row.details.get("reason")
                changes = {"state": "refused", "decided_by": row.actor, "refusal": refusal}
            case "rules-in-force":
                known = {other: _behind(one, row.recorded_at) for other, one in known.items()}
                changes = {"state": "in force"}
            case _:
                continue
        known[name] = msgspec.structs.replace(before, since=row.recorded_at, **changes)
    return known


def in_force(known: Mapping[str, Version]) -> Version | None:
    """The version that holds; None where none ever did."""
    return next((one for one in known.values() if one.state == "in force"), None)


def propose(
    known: Mapping[str, Version], version: str, *, actor: str, reason: str
) -> tuple[str, str]:
    """Who proposes the version, and why, as the ledger is to say it. Raises `DecisionRefused`."""
    found = known.get(version)
    if found is not None and found.state in ("in force", "proposed", "approved"):
        raise DecisionRefused(f"version {version} of the rules {_told(found)}")
    return person(actor), stated(reason, "the reason")


def approve(known: Mapping[str, Version], version: str, *, actor: str) -> str:
    """Who approves the version: somebody else than who proposed it. Raises `DecisionRefused`."""
    return second(actor, str(_proposed(known, version).proposed_by))


def refuse(
    known: Mapping[str, Version], version: str, *, actor: str, reason: str
) -> tuple[str, str]:
    """Who refuses the version, and why; who proposed it may take it back so. Raises
    `DecisionRefused`."""
    _proposed(known, version)
    return person(actor), stated(reason, "the reason")


def second(actor: str, first: str) -> str:
    """The name of a second person beside the `first`. Raises `DecisionRefused`."""
    name = person(actor)
    if _folded(name) == _folded(first):
        raise DecisionRefused(
            f"{first} asked for it and cannot approve it as well: somebody else has to approve it"
        )
    return name


def _proposed(known: Mapping[str, Version], version: str) -> Version:
    found = known.get(version)
    if found is None or found.state == "seen":
        raise DecisionRefused(
            f"nobody has proposed version {version} of the rules: foreshock alerts rules propose"
        )
    if found.state != "proposed":
        anew = "" if found.state in ("approved", "in force") else ": propose it anew"
        raise DecisionRefused(f"version {version} of the rules {_told(found)}{anew}")
    return found


def _told(version: Version) -> str:
    """What became of it, as the end of a sentence."""
    match version.state:
        case "proposed":
            return f"was proposed by {version.proposed_by} already, and waits for approval"
        case "approved":
            return f"was approved by {version.decided_by} already, and holds when the file is that"
        case "in force":
            return "is in force already"
        case "refused":
            return f"was refused by {version.decided_by}"
        case "lapsed":
            return "was approved, and lapsed when another one came into force"
    return "was in force until another one was"


def _behind(version: Version, now: datetime) -> Version:
    """The version after another one came into force."""
    left = {"in force": "former", "approved": "lapsed"}.get(version.state)
    return msgspec.structs.replace(version, state=left, since=now) if left else version


def _folded(name: str) -> str:
    """Names that a reader would take for the same one."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
