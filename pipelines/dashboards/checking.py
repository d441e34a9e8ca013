"""Asks every query of every dashboard as Grafana would, and says how many rows came, how fast."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace
from sqlalchemy import text

from connectors.errors import StoreError
from connectors.store import Store
from pipelines.dashboards.asking import (
    OnlyPostgresql,
    QueryError,
    Scope,
    for_postgresql,
    for_sqlite,
    without_holes,
)
from pipelines.dashboards.building import Board, Span
from pipelines.dashboards.validation import violations

_PROMETHEUS_SECONDS = 10.0
_LOOK_BACK = timedelta(hours=1)
"""How far queries of Prometheus reach back: it keeps the time of the clock, not of events."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one query. `part`: the panel's title, or which variable or annotation it is;
    `query`: its letter; `milliseconds` include the way to the server and back."""

    dashboard: str
    part: str
    query: str
    status: Literal["ok", "empty", "skipped", "failed"]
    rows: int = 0
    milliseconds: float = 0.0
    detail: str = ""


class Answer(NamedTuple):
    """What the store gave: names of the columns, and rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def check(
    board: Board,
    store: Store,
    shown: Span | None,
    *,
    prometheus: str | None = None,
    given: Mapping[str, str] | None = None,
) -> Iterator[Checked]:
    """Every query of a dashboard over `shown` (event time), its variables at their first values or
    as `given`; first of all whether the dashboard fits Grafana's schema."""
    name = str(board["title"])
    if wrong := violations(board):
        detail = "; ".join(wrong)
        yield Checked(dashboard=name, part="schema", query="", status="failed", detail=detail)
    now = datetime.now(UTC)
    scope = Scope(*(shown or (now - timedelta(days=1), now)), values=dict(given or {}))
    for variable in board["templating"]["list"]:
        done, scope = _variable(name, variable, store, scope)
        yield from done
    for mark in board["annotations"].get("list", ()):
        if "target" in mark:
            yield _asked(name, f"annotation {mark['name']}", mark["target"], store, scope, 400)
    for panel in board["panels"]:
        points = int(panel.get("maxDataPoints", 400))
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield _measured(name, panel["title"], target, prometheus, now)
            else:
                yield _asked(name, panel["title"], target, store, scope, points)


def answer(sql: str, store: Store, scope: Scope, points: int = 400) -> Answer:
    """What the store answers to a panel's query, and Grafana adds to it. Raises QueryError,
    StoreError."""
    interval = scope.interval(points)
    if store.engine.dialect.name == "sqlite":
        filled = for_sqlite(sql, scope, interval)
    else:
        filled = for_postgresql(sql, scope, interval)
    with store.snapshot() as connection:
        # Words behind a colon are no parameters of ours.
        found = connection.execute(text(filled.replace(":", "\\:")))
        rows = [tuple(row) for row in found]
        return Answer(list(found.keys()), without_holes(sql, rows, scope, interval))


def variables(board: Board, store: Store, scope: Scope) -> Scope:
    """The scope with the first value of every variable that it does not hold. Raises QueryError,
    StoreError."""
    for variable in board["templating"]["list"]:
        if variable["name"] not in scope.values:
            scope = _with_first(variable, store, scope)
    return scope


def _with_first(variable: Mapping[str, Any], store: Store, scope: Scope) -> Scope:
    value = ""
    if variable["type"] == "custom":
        value = str(variable["current"]["value"])
    elif variable["type"] == "query":
        rows = answer(variable["query"], store, scope).rows
        value = str(rows[0][0]) if rows else ""
    return Scope(scope.start, scope.end, {variable["name"]: value, **scope.values})


def _variable(
    board: str, variable: Mapping[str, Any], store: Store, scope: Scope
) -> tuple[list[Checked], Scope]:
    """What became of the variable's query, if it has one, and the scope with its value."""
    name, done = variable["name"], []
    if variable["type"] == "query":
        target = {"rawSql": variable["query"], "refId": ""}
        done = [_asked(board, f"variable {name}", target, store, scope, 400)]
        if done[0].status != "ok":
            return done, Scope(scope.start, scope.end, {name: "", **scope.values})
    return done, _with_first(variable, store, scope)


def _asked(
    board: str, part: str, target: Mapping[str, Any], store: Store, scope: Scope, points: int
) -> Checked:
    of = Checked(dashboard=board, part=part, query=str(target["refId"]), status="failed")
    started = time.perf_counter()
    try:
        rows = answer(target["rawSql"], store, scope, points).rows
    except OnlyPostgresql as error:
        return replace(of, status="skipped", detail=str(error))
    except (QueryError, StoreError) as error:
        return replace(of, detail=str(error))
    return _counted(of, sum(any(value is not None for value in row) for row in rows), started)


def _measured(
    board: str, part: str, target: Mapping[str, Any], prometheus: str | None, now: datetime
) -> Checked:
    of = Checked(dashboard=board, part=part, query=str(target["refId"]), status="failed")
    if prometheus is None:
        return replace(of, status="skipped", detail="no Prometheus given")
    started = time.perf_counter()
    try:
        series = _series(prometheus, target, now)
    except (OSError, ValueError, KeyError) as error:
        return replace(of, detail=f"{prometheus}: {_said(error)}")
    return _counted(of, len(series), started)


def _series(prometheus: str, target: Mapping[str, Any], now: datetime) -> list[Any]:
    asked = {"query": target["expr"].replace("$__rate_interval", "5m")}
    if target.get("instant"):
        way = "query"
    else:
        way = "query_range"
        span = {"start": (now - _LOOK_BACK).timestamp(), "end": now.timestamp(), "step": 60}
        asked |= {name: str(value) for name, value in span.items()}
    address = f"{prometheus.rstrip('/')}/api/v1/{way}?{urllib.parse.urlencode(asked)}"
    if not address.startswith(("http://", "https://")):
        raise ValueError("the address must begin with http:// or https://")
    with urllib.request.urlopen(address, timeout=_PROMETHEUS_SECONDS) as page:  # noqa: S310
        found: list[Any] = json.load(page)["data"]["result"]
    return found


def _said(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        try:
            return str(json.load(error)["error"])
        except (ValueError, KeyError):
            return str(error)
    return str(error)


def _counted(of: Checked, rows: int, started: float) -> Checked:
    taken = round((time.perf_counter() - started) * 1000, 1)
    return replace(of, status="ok" if rows else "empty", rows=rows, milliseconds=taken)
