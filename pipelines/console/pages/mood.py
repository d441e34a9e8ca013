"""Mood and volume: of the whole market, of one company, of one topic."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from models.tags import TOPICS
from pipelines.console import queries, views
from pipelines.console.access import Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.pages.queue import cursor
from pipelines.console.queries import Queue
from pipelines.console.rendering import page
from pipelines.console.rights import Permission
from pipelines.naming import display_name
from pipelines.report import inert

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Days = Annotated[int, Query(ge=1, le=366)]

_PERIODS = {1: "1 day", 7: "7 days", 28: "28 days", 91: "13 weeks"}
_ALERTS, _MESSAGES = 20, 20
_LIVE_SECONDS = 60


@router.get("/mood")
def market(
    request: Request, reader: Reader, here: In, days: Days = 7, live: Literal["", "1"] = ""
) -> Response:
    """The whole market; where `live`, browsers ask again every minute."""
    with here.store.snapshot() as connection:
        configuration = queries.newest_configuration(connection)
        mood = views.market(connection, configuration, days) if configuration else None
    charts = [mood.mood, mood.topics] if mood else []
    answer = page(
        request,
        "mood.html",
        caller=reader,
        charts={chart.id: chart.figure for chart in charts if chart},
        mood=mood,
        days=days,
        periods=_PERIODS,
        live=live,
        topic_names=TOPICS,
    )
    if live:
        answer.headers["Refresh"] = str(_LIVE_SECONDS)
    return answer


@router.get("/companies/{name:path}")
def company(
    request: Request, reader: Reader, here: In, name: str, days: Days = 28, after: str = ""
) -> Response:
    """One company."""
    return _subject(request, reader, here, f"entity:{name}", days, after)


@router.get("/topics/{name:path}")
def topic(
    request: Request, reader: Reader, here: In, name: str, days: Days = 28, after: str = ""
) -> Response:
    """One topic."""
    return _subject(request, reader, here, f"topic:{name}", days, after)


def _subject(
    request: Request, reader: Caller, here: Console, key: str, days: int, after: str
) -> Response:
    started = cursor(after)
    entity = key.partition(":")[2] if key.startswith("entity:") else None
    with here.store.snapshot() as connection:
        configuration = queries.newest_configuration(connection)
        if configuration is None or not queries.known(connection, configuration, key):
            raise Refused(404, "Nothing was ever counted under that name.")
        mood = views.subject(connection, configuration, key, days)
        alerts, _ = queries.queue(connection, Queue(key=key), None, _ALERTS)
        before = started.at if started else None
        found = queries.messages_of(connection, configuration, key, before, _MESSAGES)
    more = queries.Cursor(found[-1]["published_at"], "") if len(found) == _MESSAGES else None
    return page(
        request,
        "subject.html",
        caller=reader,
        charts={mood.mood.id: mood.mood.figure} if mood else {},
        name=inert.visible(display_name(key)),
        kind=key.partition(":")[0],
        key=inert.visible(key.partition(":")[2]),
        address=views.subject_path(key),
        dashboard=views.dashboard_path(key),
        mood=mood,
        days=days,
        periods=_PERIODS,
        lines=[views.line(row, here.now()) for row in alerts],
        messages=[(row["id"], views.message(row, entity)) for row in found],
        following=more.encode() if more else None,
    )
