"""The dashboards' panels: what Grafana draws, from the same queries."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from pipelines.console import queries
from pipelines.console.access import Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.rendering import page
from pipelines.console.rights import Permission
from pipelines.dashboards import pictures
from pipelines.dashboards.asking import Scope
from pipelines.dashboards.building import BOARDS, Board, as_json, history, is_history
from pipelines.report import wording

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(Permission.READ))]
Days = Annotated[int, Query(ge=1, le=366)]

_PERIODS = {1: "1 day", 7: "7 days", 28: "28 days", 91: "13 weeks"}
_KINDS = {"company": "entity", "topic": "topic"}
"""Of the dashboards that show one thing, what its keys begin with."""


@router.get("/dashboards")
def first(request: Request, reader: Reader, here: In, days: Days = 28) -> Response:
    """The whole market's."""
    return _page(request, reader, here, "mood", {}, days)


@router.get("/dashboards/{name}")
def dashboard(request: Request, reader: Reader, here: In, name: str, days: Days = 28) -> Response:
    """One dashboard, of the first company or topic."""
    return _page(request, reader, here, name, {}, days)


@router.get("/dashboards/{board}/{name:path}")
def dashboard_of(
    request: Request, reader: Reader, here: In, board: str, name: str, days: Days = 28
) -> Response:
    """The dashboard of one company or topic."""
    # A query is put together from the name: only what was ever counted gets that far.
    with here.store.snapshot() as connection:
        newest = queries.newest_configuration(connection)
        key = f"{_KINDS.get(board, '')}:{name}"
        if newest is None or not queries.known(connection, newest, key):
            raise Refused(404, "Nothing was ever counted under that name.")
    return _page(request, reader, here, board, {board: name}, days)


def _page(
    request: Request,
    reader: Caller,
    here: Console,
    name: str,
    values: Mapping[str, str],
    days: int,
) -> Response:
    board = _boards().get(name)
    if board is None:
        raise Refused(404, "There is no such dashboard.")
    held = history(here.store)
    view, period = None, ""
    if held is not None:
        end = held[1] if is_history(held, here.now()) else here.now()
        scope = Scope(max(held[0], end - timedelta(days=days)), end, values)
        view = pictures.view(board, here.store, scope)
        period = f"{wording.time(scope.start)} – {wording.time(scope.end)}"
    drawn = [picture.chart for picture in (view.pictures if view else ()) if picture.chart]
    return page(
        request,
        "dashboard.html",
        caller=reader,
        charts={chart.id: chart.figure for chart in drawn},
        view=view,
        period=period,
        title=board["title"],
        board=name,
        boards={one: of["title"] for one, of in _boards().items()},
        address=quote(request.url.path),
        days=days,
        periods=_PERIODS,
    )


@cache
def _boards() -> Mapping[str, Board]:
    """By the last part of their uid."""
    return {uid.rpartition("-")[2]: as_json(build()) for uid, build in BOARDS.items()}
