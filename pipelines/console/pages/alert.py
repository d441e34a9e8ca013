"""One alert: what was seen against what was expected, in which messages, and what people did."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from alerting.decisions import Acknowledge, Assign, Comment, Dispose, Resolve, Snooze
from alerting.decisions import Action as Decision
from alerting.errors import DecisionRefused
from pipelines.console import deciding, queries, views
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.rendering import download, page
from pipelines.console.rights import Permission
from pipelines.export import pdf
from pipelines.export import writing as export_file

router = APIRouter(prefix="/alerts/{alert_id}")

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Triager = Annotated[Caller, Depends(Action(Permission.TRIAGE))]
Closer = Annotated[Caller, Depends(Action(Permission.CLOSE))]
Exporter = Annotated[Caller, Depends(Action(Permission.EXPORT))]

KINDS = {
    "jsonl": "application/jsonl; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
}
"""Media types of exports."""

_STORY = 50
_SNOOZES = (1, 4, 8, 24, 72, 168)


@router.get("")
def show(request: Request, reader: Reader, here: In, alert_id: str) -> Response:
    """The alert's page."""
    return _page(request, reader, here, alert_id)


@router.post("/acknowledge")
def acknowledge(request: Request, caller: Triager, here: In, alert_id: str) -> Response:
    """He has seen it."""
    return _decide(request, caller, here, alert_id, Acknowledge())


@router.post("/assign")
def assign(
    request: Request, caller: Triager, here: In, alert_id: str, to: Annotated[str, Form()] = ""
) -> Response:
    """Whose work it is."""
    if to not in deciding.assignees(here):
        raise Refused(422, "Nobody of that name may work on alerts.")
    return _decide(request, caller, here, alert_id, Assign(to))


@router.post("/comment")
def comment(
    request: Request, caller: Triager, here: In, alert_id: str, text: Annotated[str, Form()] = ""
) -> Response:
    """A remark."""
    return _decide(request, caller, here, alert_id, Comment(text))


@router.post("/snooze")
def snooze(
    request: Request, caller: Triager, here: In, alert_id: str, hours: Annotated[int, Form()] = 0
) -> Response:
    """Not before so many hours."""
    if hours not in _SNOOZES:
        raise Refused(422, "Choose how long to snooze it.")
    return _decide(request, caller, here, alert_id, Snooze(here.now() + timedelta(hours=hours)))


@router.post("/resolve")
def resolve(request: Request, caller: Closer, here: In, alert_id: str) -> Response:
    """It is over."""
    return _decide(request, caller, here, alert_id, Resolve())


@router.post("/dispose")
def dispose(
    request: Request,
    caller: Closer,
    here: In,
    alert_id: str,
    reason: Annotated[str, Form()] = "",
    rationale: Annotated[str, Form()] = "",
    again: Annotated[bool, Form()] = False,
) -> Response:
    """What it was, and why."""
    return _decide(request, caller, here, alert_id, Dispose(reason, rationale, again))


@router.post("/export")
def export(
    caller: Exporter, here: In, alert_id: str, form: Annotated[export_file.Form, Form()] = "jsonl"
) -> Response:
    """All that it rests on, as a file."""
    file = deciding.export(here, caller, alert_id, form)
    return download(file, KINDS[form], f"alert-{alert_id[:12]}.{form}")


def _decide(
    request: Request, caller: Caller, here: Console, alert_id: str, action: Decision
) -> Response:
    try:
        deciding.decide(here, caller, alert_id, action)
    except DecisionRefused as refusal:
        return _page(request, caller, here, alert_id, refusal=str(refusal))
    return RedirectResponse(f"/alerts/{alert_id}#history", 303)


def _page(
    request: Request, caller: Caller, here: Console, alert_id: str, refusal: str | None = None
) -> Response:
    with here.store.snapshot() as connection:
        row = queries.alert(connection, alert_id)
        if row is None:
            raise Refused(404, "There is no such alert.")
        view = views.alert_in_full(connection, row)
        events = views.history(queries.events_of(connection, alert_id))
        told = queries.deliveries_of(connection, alert_id)
        story = queries.same_story(connection, alert_id, _STORY)
    return page(
        request,
        "alert.html",
        caller=caller,
        status=409 if refusal else 200,
        charts={chart.id: chart.figure for _, chart in view.charts},
        alert=view,
        row=row,
        line=views.line(row, here.now()),
        subject=views.subject_path(row["key"]),
        events=events,
        deliveries=told,
        story=[views.line(other, here.now()) for other in story],
        refusal=refusal,
        assignees=deciding.assignees(here) if caller.may(Permission.TRIAGE) else (),
        snoozes=_SNOOZES,
        reasons=here.reasons,
        verification=here.verifier.last,
        prints=pdf.browser() is not None,
    )
