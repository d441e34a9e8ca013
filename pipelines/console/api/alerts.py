"""Alerts, and what people do with them."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from alerting import decisions
from alerting.decisions import Action
from pipelines.console import deciding, queries
from pipelines.console.access import Api, Caller, Refused
from pipelines.console.api.records import (
    After,
    Alert,
    Alerts,
    Assign,
    Comment,
    Dispose,
    Event,
    FullAlert,
    Limit,
    Severity,
    Snooze,
    State,
    following,
)
from pipelines.console.context import Console, In
from pipelines.console.pages.queue import cursor
from pipelines.console.queries import Order, Queue, Shelf
from pipelines.console.rendering import download
from pipelines.console.rights import Permission

router = APIRouter(prefix="/alerts", tags=["alerts"])

Reader = Annotated[Caller, Depends(Api(Permission.READ))]
Triager = Annotated[Caller, Depends(Api(Permission.TRIAGE))]
Closer = Annotated[Caller, Depends(Api(Permission.CLOSE))]
Exporter = Annotated[Caller, Depends(Api(Permission.EXPORT))]


@router.get("")
def list_alerts(
    caller: Reader,
    here: In,
    shelf: Shelf = Shelf.ALL,
    order: Order = Order.NEWEST,
    state: State | None = None,
    severity: Severity | None = None,
    key: str | None = None,
    limit: Limit = 50,
    after: After = "",
) -> Alerts:
    """A page of alerts. Keys are `entity:AMZN`, `topic:Earnings` and `overall`."""
    wanted = Queue(
        shelf=shelf, order=order, state=state, severity=severity, key=key, reader=caller.user.name
    )
    with here.store.snapshot() as connection:
        rows, end = queries.queue(connection, wanted, cursor(after), limit)
    return Alerts(items=[Alert.of(row) for row in rows], next=following(end))


@router.get("/{alert_id}")
def one_alert(_caller: Reader, here: In, alert_id: str) -> FullAlert:
    """One alert with its evidence."""
    return _alert(here, alert_id)


@router.get("/{alert_id}/events")
def history(_caller: Reader, here: In, alert_id: str) -> list[Event]:
    """The ledger's rows on one alert."""
    with here.store.snapshot() as connection:
        rows = queries.events_of(connection, alert_id)
    if not rows:
        raise Refused(404, "There is no such alert.")
    return [Event.model_validate(row) for row in rows]


@router.post(
    "/{alert_id}/export",
    response_class=Response,
    responses={200: {"content": {"application/jsonl": {}}, "description": "JSON Lines."}},
)
def export(caller: Exporter, here: In, alert_id: str) -> Response:
    """All that the alert rests on; that it was taken out is in the ledger."""
    return download(deciding.export(here, caller, alert_id, "jsonl"), "application/jsonl")


@router.post("/{alert_id}/acknowledge")
def acknowledge(caller: Triager, here: In, alert_id: str) -> FullAlert:
    """You have seen it."""
    return _decided(here, caller, alert_id, decisions.Acknowledge())


@router.post("/{alert_id}/assign")
def assign(caller: Triager, here: In, alert_id: str, body: Assign) -> FullAlert:
    """Whose work it is."""
    if body.to not in deciding.assignees(here):
        raise Refused(422, "Nobody of that name may work on alerts.")
    return _decided(here, caller, alert_id, decisions.Assign(body.to))


@router.post("/{alert_id}/comment")
def comment(caller: Triager, here: In, alert_id: str, body: Comment) -> FullAlert:
    """A remark; it stays in the ledger for good."""
    return _decided(here, caller, alert_id, decisions.Comment(body.text))


@router.post("/{alert_id}/snooze")
def snooze(caller: Triager, here: In, alert_id: str, body: Snooze) -> FullAlert:
    """Not before that time."""
    return _decided(here, caller, alert_id, decisions.Snooze(body.until))


@router.post("/{alert_id}/resolve")
def resolve(caller: Closer, here: In, alert_id: str) -> FullAlert:
    """It is over; no pipeline opens it again."""
    return _decided(here, caller, alert_id, decisions.Resolve())


@router.post("/{alert_id}/dispose")
def dispose(caller: Closer, here: In, alert_id: str, body: Dispose) -> FullAlert:
    """What it was, and why; this resolves it too."""
    action = decisions.Dispose(body.reason, body.rationale, body.again)
    return _decided(here, caller, alert_id, action)


def _decided(here: Console, caller: Caller, alert_id: str, action: Action) -> FullAlert:
    deciding.decide(here, caller, alert_id, action)
    return _alert(here, alert_id)


def _alert(here: Console, alert_id: str) -> FullAlert:
    row = deciding.alert(here, alert_id)
    return FullAlert.model_validate({**Alert.of(row).model_dump(), "evidence": row["evidence"]})
