"""Versions of the rules in the store: kept by their hash, proposed, approved, refused, in force."""

import difflib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Select, literal, select

from alerting import approval
from alerting.approval import RULES, Version, follow_rules, in_force
from alerting.decisions import MACHINE
from alerting.errors import LedgerError
from alerting.ledger import LedgerRow
from alerting.rules import Approvals, parse, version_of
from connectors.store import Transaction
from connectors.store.schema import alert_events, rule_versions
from pipelines.recording import record_fact

Rows = Callable[[Select[Any]], list[dict[str, Any]]]
"""`rows` of a transaction or of a store."""


def versions(rows: Rows) -> dict[str, Version]:
    """Every version that the ledger tells of, by its hash."""
    subjects = select(literal(RULES).concat(rule_versions.c.id))
    of_rules = select(alert_events).where(alert_events.c.subject.in_(subjects))
    found = rows(of_rules.order_by(alert_events.c.sequence))
    return follow_rules(LedgerRow(**row) for row in found)


def text_of(rows: Rows, version: str) -> bytes:
    """The text of a version. Raises `LedgerError` where the store has not what the hash names."""
    found = rows(select(rule_versions.c.text).where(rule_versions.c.id == version))
    text = found[0]["text"].encode() if found else b""
    if version_of(text) != version:
        raise LedgerError(
            f"version {version} of the rules is not in the store as it was written: check it with "
            "foreshock alerts verify"
        )
    return text


def changes(rows: Rows, version: str) -> list[str]:
    """The lines of a unified diff from the version in force; none where it is this one."""
    holding = in_force(versions(rows))
    before, after = (
        text_of(rows, one).decode().splitlines() if one else []
        for one in (holding.id if holding else None, version)
    )
    return list(difflib.unified_diff(before, after, "in force", "this version", lineterm=""))


def approvals(rows: Rows) -> Approvals:
    """What the rules in force want a second person for; nothing where none are in force."""
    holding = in_force(versions(rows))
    return parse(text_of(rows, holding.id))[0].approvals if holding else Approvals()


def propose_rules(
    tx: Transaction, text: bytes, *, actor: str, reason: str, now: datetime
) -> Version:
    """Files that somebody proposes rules of this text. Raises `DecisionRefused`."""
    tx.ledger_end()
    version = version_of(text)
    name, why = approval.propose(versions(tx.rows), version, actor=actor, reason=reason)
    return _filed(tx, approval.PROPOSED, version, text, actor=name, now=now, reason=why)


def approve_rules(tx: Transaction, version: str, *, actor: str, now: datetime) -> Version:
    """Files that a second person approves a version. Raises `DecisionRefused`."""
    tx.ledger_end()
    name = approval.approve(versions(tx.rows), version, actor=actor)
    text = text_of(tx.rows, version)
    return _filed(tx, approval.APPROVED, version, text, actor=name, now=now)


def refuse_rules(
    tx: Transaction, version: str, *, actor: str, reason: str, now: datetime
) -> Version:
    """Files that somebody refuses a version. Raises `DecisionRefused`."""
    tx.ledger_end()
    name, why = approval.refuse(versions(tx.rows), version, actor=actor, reason=reason)
    text = text_of(tx.rows, version)
    return _filed(tx, approval.REFUSED, version, text, actor=name, now=now, reason=why)


def note_seen(tx: Transaction, text: bytes, now: datetime) -> None:
    """Files that the rules file has this text, which is not in force; once."""
    tx.ledger_end()
    known = versions(tx.rows).get(version_of(text))
    if known is None or known.state in ("former", "lapsed"):
        _filed(tx, approval.SEEN, version_of(text), text, actor=MACHINE, now=now)


def put_in_force(tx: Transaction, text: bytes, now: datetime) -> bool:
    """Files that rules of this text are in force from now on, if they may be: where the rules in
    force want a second person, only once they are approved."""
    tx.ledger_end()
    known = versions(tx.rows)
    holding, version = in_force(known), version_of(text)
    if holding is None or holding.id != version:
        approved = version in known and known[version].state == "approved"
        if not approved and approvals(tx.rows).rules:
            return False
        _filed(tx, approval.IN_FORCE, version, text, actor=MACHINE, now=now)
    return True


def _filed(
    tx: Transaction,
    event: str,
    version: str,
    text: bytes,
    *,
    actor: str,
    now: datetime,
    **more: Any,
) -> Version:
    record_fact(tx, event, RULES + version, actor=actor, now=now, rules=version, **more)
    tx.upsert("rule_versions", [{"id": version, "text": text.decode(), "recorded_at": now}])
    return versions(tx.rows)[version]
