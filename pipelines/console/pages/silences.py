"""Silences: which hold, which wait for a second person; asking for one, and ending it."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from alerting.errors import DecisionRefused
from alerting.silence import Silence
from alerting.spike import KINDS
from connectors.store import Transaction
from pipelines.alerting import silencing
from pipelines.alerting.approving import approvals
from pipelines.console import deciding, queries
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.rendering import page
from pipelines.console.rights import Permission

router = APIRouter(prefix="/silences")

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Owner = Annotated[Caller, Depends(Action(Permission.SILENCE))]
Approver = Annotated[Caller, Depends(Action(Permission.APPROVE))]

_SHOWN = 200
_HOURS = (1, 4, 8, 24, 72, 168, 720)


@router.get("")
def show(request: Request, reader: Reader, here: In) -> Response:
    """All of them, the newest first."""
    return _page(request, reader, here)


@router.post("")
def ask_for(
    request: Request,
    caller: Owner,
    here: In,
    keys: Annotated[str, Form(max_length=2_000)] = "",
    kind: Annotated[tuple[str, ...], Form()] = (),
    hours: Annotated[int, Form()] = 0,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """A new one, from now on."""
    if hours not in _HOURS:
        raise Refused(422, "Choose how long it is to last.")
    deciding.check_plain(keys, reason, *kind)

    def ask(tx: Transaction, now: datetime) -> Silence:
        return silencing.ask_for(
            tx,
            owner=caller.user.name,
            reason=reason,
            starts_at=now,
            ends_at=now + timedelta(hours=hours),
            keys=tuple(key.strip() for key in re.split("[,\n]", keys) if key.strip()),
            kinds=kind,
            now=now,
        )

    return _done(request, caller, here, ask)


@router.post("/{silence_id}/approve")
def approve(request: Request, caller: Approver, here: In, silence_id: str) -> Response:
    """By a second person."""
    name = caller.user.name

    def step(tx: Transaction, now: datetime) -> Silence:
        return silencing.approve(tx, silence_id, actor=name, now=now)

    return _done(request, caller, here, step)


@router.post("/{silence_id}/end")
def end(request: Request, caller: Owner, here: In, silence_id: str) -> Response:
    """Before its time."""
    name = caller.user.name

    def step(tx: Transaction, now: datetime) -> Silence:
        return silencing.end(tx, silence_id, actor=name, now=now)

    return _done(request, caller, here, step)


def _done(
    request: Request,
    caller: Caller,
    here: Console,
    step: Callable[[Transaction, datetime], Silence],
) -> Response:
    try:
        with here.store.transaction() as tx:
            step(tx, here.now())
    except DecisionRefused as refusal:
        return _page(request, caller, here, str(refusal))
    return RedirectResponse("/silences", 303)


def _page(request: Request, reader: Caller, here: Console, refusal: str | None = None) -> Response:
    now = here.now()
    with here.store.snapshot() as connection:
        found = [silencing.silence_of(row) for row in queries.all_silences(connection, _SHOWN)]
    return page(
        request,
        "silences.html",
        caller=reader,
        status=409 if refusal else 200,
        refusal=refusal,
        silences=[(one, silencing.state(one, now)) for one in found],
        second_person=approvals(here.store.rows).silences,
        kinds=KINDS,
        hours=_HOURS,
    )
