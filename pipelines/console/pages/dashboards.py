"""The dashboards' panels: what Grafana draws, from the same queries."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from pipelines.console.views import dashboard_path
from pipelines.dashboards import pictures
from pipelines.dashboards.asking import Scope
from pipelines.dashboards.building import BOARDS, Board, as_json, history, is_history
from pipelines.dashboards.checking import variables
from pipelines.report import wording

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(Permission.READ))]

_PERIODS = {1: "1 day", 7: "7 days", 28: "28 days", 91: "13 weeks"}
_KINDS = {"company": "entity", "topic": "topic"}
"""Of the dashboards that show one thing, what its keys begin with."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The last `days`; all panels, or one by its number."""

    days: Annotated[int, Query(ge=1, le=366)] = 28
    panel: Annotated[int | None, Query(ge=1)] = None


Wanted = Annotated[Shown, Depends()]


@router.get("/dashboards")
def first(request: Request, reader: Reader, here: In, shown: Wanted) -> Response:
    """The whole market's."""
    return _page(request, reader, here, "mood", {}, shown)


@router.get("/dashboards/{name}")
def dashboard(request: Request, reader: Reader, here: In, name: str, shown: Wanted) -> Response:
    """One dashboard, of the first company or topic."""
    return _page(request, reader, here, name, {}, shown)


@router.get("/dashboards/{board}/{name:path}")
def dashboard_of(
    request: Request, reader: Reader, here: In, board: str, name: str, shown: Wanted
) -> Response:
    """The dashboard of one company or topic."""
    # A query is put together from the name: only what was ever counted gets that far.
    with here.store.snapshot() as connection:
        newest = queries.newest_configuration(connection)
        key = f"{_KINDS.get(board, '')}:{name}"
        if newest is None or not queries.known(connection, newest, key):
            raise Refused(404, "Nothing was ever counted under that name.")
    return _page(request, reader, here, board, {board: name}, shown)


def _page(
    request: Request,
    reader: Caller,
    here: Console,
    name: str,
    values: Mapping[str, str],
    shown: Shown,
) -> Response:
    """The dashboard, whose panels browsers then ask for one by one; or one of them."""
    board = _boards().get(name)
    if board is None:
        raise Refused(404, "There is no such dashboard.")
    scope = _scope(here, values, shown.days)
    told = {
        "title": board["title"],
        "period": f"{wording.time(scope.start)} – {wording.time(scope.end)}" if scope else "",
        "address": quote(request.url.path),
        "days": shown.days,
    }
    if shown.panel is not None:
        picture = pictures.picture(board, here.store, scope, shown.panel) if scope else None
        if picture is None:
            raise Refused(404, "There is no such panel.")
        charts = {picture.chart.id: picture.chart.figure} if picture.chart else {}
        return page(request, "panel.html", caller=reader, charts=charts, panel=picture, **told)
    view, panels = None, told["address"]
    if scope is not None:
        scope = variables(board, here.store, scope)
        view = pictures.outline(board, scope)
        if (company := scope.values.get("company")) and not values:
            panels = dashboard_path(f"entity:{company}")  # else each would look for the first one
    return page(
        request,
        "dashboard.html",
        caller=reader,
        charts={},
        view=view,
        panels=panels,
        board=name,
        boards={one: of["title"] for one, of in _boards().items()},
        periods=_PERIODS,
        **told,
    )


def _scope(here: Console, values: Mapping[str, str], days: int) -> Scope | None:
    """The last `days` of what the store holds, None where it holds nothing."""
    held = history(here.store)
    if held is None:
        return None
    end = held[1] if is_history(held, here.now()) else here.now()
    return Scope(max(held[0], end - timedelta(days=days)), end, values)


@cache
def _boards() -> Mapping[str, Board]:
    """By the last part of their uid."""
    return {uid.rpartition("-")[2]: as_json(build()) for uid, build in BOARDS.items()}
