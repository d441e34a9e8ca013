"""A search over messages; one message, and what its labels should have been."""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from models.tags import HEADS, SENTIMENTS, TOPICS
from pipelines.console import deciding, queries, views
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import In
from pipelines.console.pages.queue import cursor
from pipelines.console.queries import Search
from pipelines.console.rendering import page
from pipelines.console.rights import Permission
from pipelines.naming import display_name
from pipelines.report import inert

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Text = Annotated[str, Query(max_length=200)]

_A_PAGE = 30
_MOST_WORDS = 8
_TOPICS_SHOWN = 5


@router.get("/messages")
def search(
    request: Request,
    reader: Reader,
    here: In,
    q: Text = "",
    sentiment: Text = "",
    topic: Text = "",
    company: Text = "",
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """The newest messages that fit."""
    wanted = Search(
        words=q.split()[:_MOST_WORDS],
        sentiment=sentiment or None,
        topic=topic or None,
        company=company.strip().upper() or None,
    )
    with here.store.snapshot() as connection:
        found = queries.search(connection, wanted, cursor(after), _A_PAGE)
    chosen = {"q": q, "sentiment": sentiment, "topic": topic, "company": company}
    given = {name: value for name, value in chosen.items() if value}
    further = urlencode(given | {"after": found.next.encode()}) if found.next else None
    return page(
        request,
        "messages.html",
        caller=reader,
        chosen=chosen,
        sentiments=SENTIMENTS,
        topics=TOPICS,
        messages=[(row["id"], views.message(row)) for row in found.rows],
        further=f"/messages?{further}" if further else None,
        back_to=found.back_to,
        full=len(found.rows) == _A_PAGE,
    )


@router.get("/messages/{message_id:path}")
def show(request: Request, reader: Reader, here: In, message_id: str) -> Response:
    """One message."""
    with here.store.snapshot() as connection:
        row = queries.message(connection, message_id)
        if row is None:
            raise Refused(404, "There is no such message.")
        said = queries.corrections_of(connection, message_id)
    topics = sorted(zip(row["topics"], TOPICS, strict=True), reverse=True)[:_TOPICS_SHOWN]
    return page(
        request,
        "message.html",
        caller=reader,
        message_id=message_id,
        row=row,
        message=views.message(row),
        topics=[(name, share) for share, name in topics],
        companies=[
            (inert.visible(display_name(f"entity:{name}")), views.subject_path(f"entity:{name}"))
            for name in row["entities"]
        ],
        corrections=said,
        heads=HEADS,
    )


@router.post("/corrections")
def correct(
    caller: Annotated[Caller, Depends(Action(Permission.CORRECT))],
    here: In,
    message_id: Annotated[str, Form()] = "",
    head: Annotated[str, Form()] = "",
    label: Annotated[str, Form()] = "",
) -> Response:
    """Keeps what a label should have been."""
    deciding.correct(here, caller, message_id, head, label)
    return RedirectResponse(f"/messages/{quote(message_id, safe='')}#corrections", 303)


@router.get("/corrections.csv")
def corrections(
    _reader: Annotated[Caller, Depends(Page(Permission.CORRECT))], here: In
) -> Response:
    """All that people corrected, to train on."""
    with here.store.snapshot() as connection:
        rows = queries.all_corrections(connection)
    return Response(
        deciding.corrections_csv(rows),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="corrections.csv"'},
    )
