"""The dashboards as one page that needs no Grafana: the same queries, drawn as the report is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from connectors.store import Store
from pipelines.dashboards import charts
from pipelines.dashboards.asking import OnlyPostgresql, Scope
from pipelines.dashboards.building import Board, Span
from pipelines.dashboards.checking import Answer, answer, variables
from pipelines.report import document, inert, wording
from pipelines.report.content import Chart, Table
from pipelines.report.figures import Figure

_A_ROW = 28
"""Pixels of a row of Grafana's grid."""

_MOST_ROWS = 25
_MOST_CHARACTERS = 200
_SQLITES_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One panel: a `number`, a `chart` or a `table`; `note` where there is none of them.

    `panel`: its number on the dashboard; `width`: in columns of Grafana's 24; `left_out`: rows of
    the table that are not shown.
    """

    panel: int
    title: str
    description: str
    width: int
    number: str = ""
    chart: Chart | None = None
    table: Table | None = None
    left_out: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """A dashboard; `of`: what it was asked for, as (name, value); `elsewhere`: how many panels
    need Prometheus."""

    uid: str
    title: str
    description: str
    of: Sequence[tuple[str, str]]
    pictures: Sequence[Picture]
    elsewhere: int


def write(
    path: Path, boards: Sequence[Board], store: Store, shown: Span, given: Mapping[str, str]
) -> None:
    """Writes the page to `path`, whole or not at all: each dashboard over `shown` (event time).

    `given`: values of variables; the others have their first. Raises OSError where `path` cannot be
    written, QueryError and StoreError where a panel cannot be asked.
    """
    views = [view(board, store, Scope(*shown, values=dict(given))) for board in boards]
    drawn = [picture.chart for one in views for picture in one.pictures if picture.chart]
    template = files(__package__).joinpath("pictures.html").read_text(encoding="utf-8")
    page = document.document(
        template,
        {chart.id: chart.figure for chart in drawn},
        panels=Markup(style()),  # noqa: S704 - ours
        boards=views,
        period=f"{wording.time(shown[0])} – {wording.time(shown[1])}",
    )
    document.write(path, page)


def style() -> str:
    """The style sheet of panels; it has a rule for each width that one has."""
    return files(__package__).joinpath("pictures.css").read_text(encoding="utf-8")


def view(board: Board, store: Store, scope: Scope) -> BoardView:
    """A dashboard's panels of the store, with what is in them now."""
    scope = variables(board, store, scope)
    marks = _marks(board, store, scope)
    pictures = [_picture(board["uid"], panel, store, scope, marks) for panel in _ours(board)]
    return replace(outline(board, scope), pictures=pictures)


def picture(board: Board, store: Store, scope: Scope, number: int) -> Picture | None:
    """One panel with what is in it now; None where the dashboard has none of that number."""
    for panel in _ours(board):
        if panel["id"] == number:
            scope = variables(board, store, scope)
            marks = _marks(board, store, scope) if panel["type"] == "timeseries" else []
            return _picture(board["uid"], panel, store, scope, marks)
    return None


def outline(board: Board, scope: Scope) -> BoardView:
    """A dashboard of which no panel was asked yet; `scope` holds all its variables."""
    named = [one for one in board["templating"]["list"] if one["type"] != "datasource"]
    ours = _ours(board)
    return BoardView(
        uid=board["uid"],
        title=board["title"],
        description=board["description"],
        of=[(one["label"], inert.visible(scope.values[one["name"]])) for one in named],
        pictures=[_of(panel) for panel in ours],
        elsewhere=len(board["panels"]) - len(ours),
    )


def _ours(board: Board) -> list[dict[str, Any]]:
    """The panels of the store."""
    return [panel for panel in board["panels"] if "rawSql" in panel["targets"][0]]


def _marks(board: Board, store: Store, scope: Scope) -> charts.Marks:
    targets = [mark["target"] for mark in board["annotations"]["list"] if "target" in mark]
    asked = (answer(target["rawSql"], store, scope) for target in targets)
    return [_moment(row[0]).timestamp() for found in asked for row in found.rows]


def _picture(
    uid: str, panel: Mapping[str, Any], store: Store, scope: Scope, marks: charts.Marks
) -> Picture:
    points = int(panel.get("maxDataPoints", 400))
    try:
        answers = [answer(one["rawSql"], store, scope, points) for one in panel["targets"]]
    except OnlyPostgresql:
        return _of(panel, note="This needs a store in PostgreSQL.")
    rows = answers[0].rows
    if panel["type"] == "stat":
        unit = panel["fieldConfig"]["defaults"]
        return _of(panel, number=_said(rows[0][0] if rows else None, **_units(unit)))
    if not rows:
        return _of(panel, note="Nothing to show.")
    if panel["type"] == "table":
        table = _table(answers[0], _units_of_columns(panel))
        return _of(panel, table=table, left_out=len(rows) - len(table.rows))
    figure = _figure(panel, answers, scope.interval(points), marks)
    chart = Chart(
        id=f"{uid}-{panel['id']}",
        figure=figure,
        description=panel["title"],
        table=_table(answers[0], _units_of_columns(panel), most=len(rows)),
    )
    return _of(panel, chart=chart)


def _of(panel: Mapping[str, Any], **what: Any) -> Picture:
    return Picture(
        panel=panel["id"],
        title=panel["title"],
        description=panel["description"],
        width=panel["gridPos"]["w"],
        **what,
    )


def _figure(
    panel: Mapping[str, Any], answers: Sequence[Answer], step: int, marks: charts.Marks
) -> Figure:
    match panel["type"]:
        case "heatmap":
            return charts.heat(answers[0], step)
        case "barchart" | "bargauge":
            return charts.bars(answers[0])
    height, defaults = _A_ROW * panel["gridPos"]["h"], panel["fieldConfig"]["defaults"]
    if defaults["custom"].get("drawStyle") == "bars":
        return charts.stacked(answers[0], step, height, marks)
    shares = defaults["unit"] == "percentunit"
    return charts.lines(answers, _points(panel), shares, height, marks)


def _points(panel: Mapping[str, Any]) -> set[str]:
    return {name for name, of in _overrides(panel) if of.get("custom.drawStyle") == "points"}


def _overrides(panel: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for override in panel["fieldConfig"]["overrides"]:
        properties = {one["id"]: one["value"] for one in override["properties"]}
        yield override["matcher"]["options"], properties


def _units_of_columns(panel: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each column its unit, else the panel's."""
    found = {name: _units(of) for name, of in _overrides(panel) if "unit" in of}
    return {"": _units(panel["fieldConfig"]["defaults"]), **found}


def _units(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"unit": said.get("unit", "short"), "decimals": said.get("decimals")}


def _table(found: Answer, units: Mapping[str, dict[str, Any]], most: int = _MOST_ROWS) -> Table:
    of = [units.get(name, units[""]) for name in found.columns]
    rows = [
        [
            wording.time(_moment(value)) if name == "time" else _said(value, **unit)
            for name, value, unit in zip(found.columns, row, of, strict=True)
        ]
        for row in found.rows[:most]
    ]
    return Table(columns=found.columns, rows=rows)


def _said(value: Any, unit: str, decimals: float | None) -> str:
    """A value as a person would say it, in its unit as Grafana names it."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return wording.time(value)
        case str() if _SQLITES_TIME.fullmatch(value):
            return wording.time(_moment(value))
        case str():
            cut = value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]} …"
            return inert.visible(cut)
        case int() | float() | Decimal():
            return _measured(float(value), unit, decimals)
    return inert.visible(str(value))


def _measured(value: float, unit: str, decimals: float | None) -> str:
    if unit == "percentunit":
        return f"{100 * value:.{round(decimals or 0)}f} %"
    if unit == "s":
        return wording.duration(value)
    return wording.number(value) if decimals is None else f"{value:,.{round(decimals)}f}"


def _moment(value: Any) -> datetime:
    """A time as PostgreSQL, SQLite or a chart's axis has it."""
    match value:
        case datetime():
            return value
        case str():
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(value), UTC)
