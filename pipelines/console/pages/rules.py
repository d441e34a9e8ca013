"""The rules: which version is in force, which were proposed, and a second person's word on them."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from alerting.approval import Version, in_force
from alerting.errors import DecisionRefused
from alerting.rules import parse
from connectors.store import Transaction
from pipelines.alerting import approving
from pipelines.alerting.ruling import doubts
from pipelines.console import deciding
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.rendering import page
from pipelines.console.rights import Permission

router = APIRouter(prefix="/rules")

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Approver = Annotated[Caller, Depends(Action(Permission.APPROVE))]


@router.get("")
def show(request: Request, reader: Reader, here: In) -> Response:
    """All versions, the newest word first."""
    known = approving.versions(here.store.rows)
    holding = in_force(known)
    text = approving.text_of(here.store.rows, holding.id).decode() if holding else ""
    return page(
        request,
        "rules.html",
        caller=reader,
        versions=sorted(known.values(), key=lambda one: one.since, reverse=True),
        holding=holding,
        text=text,
        second_person=approving.approvals(here.store.rows).rules,
    )


@router.get("/{version}")
def one(request: Request, reader: Reader, here: In, version: str) -> Response:
    """One version, and what it changes of the one in force."""
    return _page(request, reader, here, version)


@router.post("/{version}/approve")
def approve(request: Request, caller: Approver, here: In, version: str) -> Response:
    """By a second person."""
    name = caller.user.name

    def step(tx: Transaction, now: datetime) -> Version:
        return approving.approve_rules(tx, version, actor=name, now=now)

    return _decided(request, caller, here, version, step)


@router.post("/{version}/refuse")
def refuse(
    request: Request,
    caller: Approver,
    here: In,
    version: str,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """It is not to come into force."""
    deciding.check_plain(reason)
    name = caller.user.name

    def step(tx: Transaction, now: datetime) -> Version:
        return approving.refuse_rules(tx, version, actor=name, reason=reason, now=now)

    return _decided(request, caller, here, version, step)


def _decided(
    request: Request,
    caller: Caller,
    here: Console,
    version: str,
    step: Callable[[Transaction, datetime], Version],
) -> Response:
    _known(here, version)
    try:
        with here.store.transaction() as tx:
            step(tx, here.now())
    except DecisionRefused as refusal:
        return _page(request, caller, here, version, str(refusal))
    return RedirectResponse(f"/rules/{version}", 303)


def _known(here: Console, version: str) -> Version:
    found = approving.versions(here.store.rows).get(version)
    if found is None:
        raise Refused(404, "There is no such version of the rules.")
    return found


def _page(
    request: Request, reader: Caller, here: Console, version: str, refusal: str | None = None
) -> Response:
    found = _known(here, version)
    text = approving.text_of(here.store.rows, version)
    return page(
        request,
        "rule.html",
        caller=reader,
        status=409 if refusal else 200,
        refusal=refusal,
        version=found,
        changes=approving.changes(here.store.rows, version),
        text=text.decode(),
        doubts=doubts(parse(text)[0]),
    )
