"""Panels as Plotly figures in the report's colours: pure functions of what the store answered."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.dashboards.checking import Answer
from pipelines.report import inert, wording
from pipelines.report.figures import LIGHT, Figure, axis, axis_title, plain_layout

Marks = Sequence[float]
"""When alerts opened: seconds since 1970."""

_COLOURS = {
    "negative": "negative",
    "neutral": "neutral",
    "positive": "positive",
    "unsure": "unsure",
    "negative share": "negative",
    "new negative stories": "negative",
    "usual": "expected",
    "usual at most": "neutral",
    "seen at a spike": "heat3",
    "expected by the detector": "expected",
    "new stories": "expected",
    "low": "neutral",
    "medium": "heat1",
    "high": "negative",
    "critical": "heat3",
    "final": "expected",
}
"""The same name has the same colour everywhere; another one is grey."""

_DASHES = {"usual": "dash", "usual at most": "dot"}
_SYMBOLS = {"seen at a spike": "diamond", "expected by the detector": "circle-open"}
_DOT = 5
_MARKED = {"width": 1, "color": LIGHT["heat1"]}


def stacked(answer: Answer, step: int, height: int, marks: Marks) -> Figure:
    """Columns over time as bars of `step` seconds on top of each other."""
    times, columns = _over_time(answer)
    data = [
        {
            "type": "bar",
            "name": name,
            "x": times,
            "y": values,
            "offset": 0,
            "width": step * 1000,
            "marker": {"color": _colour(name), "line": {"width": 0}},
            "hovertemplate": f"%{{y:,}} {name}<extra></extra>",
        }
        for name, values in columns.items()
    ]
    layout = _timed(height, marks, barmode="stack", bargap=0)
    layout["yaxis"] |= {
        "rangemode": "tozero",
        "title": axis_title(f"count in {wording.duration(step)}"),
    }
    return {"data": data, "layout": layout}


def lines(
    answers: Sequence[Answer], points: Collection[str], shares: bool, height: int, marks: Marks
) -> Figure:
    """Columns over time as lines, broken where there is no value, those in `points` as points;
    `shares`: from 0 to 100 %."""
    data = []
    for answer in answers:
        times, columns = _over_time(answer)
        for name, values in columns.items():
            form = ".1%" if shares else ".3~g"
            style: dict[str, Any] = {"mode": "lines", "line": _line(name)}
            if any(dots := _dots(values)):
                marker = {"color": _colour(name), "size": dots, "opacity": 1, "line": {"width": 0}}
                style |= {"mode": "lines+markers", "marker": marker, "cliponaxis": False}
            if name in points:
                marker = {"color": _colour(name), "size": 9, "symbol": _SYMBOLS.get(name, "circle")}
                style = {"mode": "markers", "marker": marker}
            data.append(
                {
                    "type": "scatter",
                    "name": name,
                    "x": times,
                    "y": values,
                    "connectgaps": False,
                    "hovertemplate": f"%{{y:{form}}} {name}<extra></extra>",
                    **style,
                }
            )
    layout = _timed(height, marks)
    ends = [float(row[0]) for answer in answers for row in (*answer.rows[:1], *answer.rows[-1:])]
    layout["xaxis"] |= {"range": [_at(min(ends)), _at(max(ends))]}  # else dots widen it
    layout["yaxis"] |= (
        {"range": [0, 1], "tickformat": ".0%"}
        if shares
        else {"rangemode": "tozero", "title": axis_title(answers[0].columns[1])}
    )
    return {"data": data, "layout": layout}


def heat(answer: Answer, step: int) -> Figure:
    """Rows of (time, name, value) as a heat map: a line for each name, a column for each step."""
    cells = {(float(at), name): float(value) for at, name, value in answer.rows}
    first, last = (int(end(at for at, _ in cells)) for end in (min, max))
    starts = range(first, last + step, step)
    names = sorted({name for _, name in cells}, reverse=True)
    data = {
        "type": "heatmap",
        "x": [_at(start + step / 2) for start in starts],
        "y": [inert.label(name) for name in names],
        "z": [[cells.get((float(start), name)) for start in starts] for name in names],
        "hovertemplate": "%{y}<br>%{x|%-d %b %Y %H:%M} UTC<br>%{z:,}<extra></extra>",
        "hoverongaps": False,
        "zmin": 0,
        "colorscale": [
            [0, LIGHT["heat0"]],
            [0.2, LIGHT["heat1"]],
            [0.5, LIGHT["heat2"]],
            [1, LIGHT["heat3"]],
        ],
        "colorbar": {
            "orientation": "h",
            "y": 1,
            "yanchor": "bottom",
            "x": 1,
            "xanchor": "right",
            "len": 180,
            "lenmode": "pixels",
            "thickness": 8,
            "nticks": 4,
            "outlinewidth": 0,
            "tickfont": {"color": LIGHT["muted"], "size": 11},
        },
    }
    height = 80 + 21 * len(names)
    layout = plain_layout(margin={"l": 8, "r": 12, "t": 40, "b": 8}, height=height)
    layout["xaxis"] |= {"type": "date", "showgrid": False}
    layout["yaxis"] |= {"showgrid": False, "ticksuffix": "  ", "nticks": 0, "dtick": 1}
    return {"data": [data], "layout": layout}


def bars(answer: Answer) -> Figure:
    """A bar for each row, the first one on top: its first column names it, the others add up."""
    names = [inert.label(str(row[0])) for row in answer.rows]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": column,
            "x": [_number(row[index]) for row in answer.rows],
            "y": names,
            "marker": {"color": _colour(column)},
            "hovertemplate": f"%{{x:,}} {column}<extra></extra>",
        }
        for index, column in enumerate(answer.columns[1:], start=1)
    ]
    height = 90 + 24 * len(names)
    layout = plain_layout(barmode="stack", bargap=0.3, height=height, hovermode="y unified")
    layout["showlegend"] = len(data) > 1
    title = None if len(data) > 1 else axis_title(answer.columns[1])
    layout["xaxis"] = axis(rangemode="tozero", title=title)
    layout["yaxis"] = axis(
        type="category", autorange="reversed", showgrid=False, ticksuffix="  ", nticks=0, dtick=1
    )
    return {"data": data, "layout": layout}


def _over_time(answer: Answer) -> tuple[list[str], Mapping[str, list[float | None]]]:
    times = [_at(float(row[0])) for row in answer.rows]
    return times, {
        name: [_number(row[index]) for row in answer.rows]
        for index, name in enumerate(answer.columns[1:], start=1)
    }


def _timed(height: int, marks: Marks, **extra: Any) -> dict[str, Any]:
    layout = plain_layout(showlegend=True, height=height, **extra)
    layout["xaxis"] |= {"type": "date"}
    layout["shapes"] = [
        {
            "type": "line",
            "layer": "below",
            "xref": "x",
            "yref": "paper",
            "x0": _at(at),
            "x1": _at(at),
            "y0": 0,
            "y1": 1,
            "line": _MARKED,
        }
        for at in marks
    ]
    return layout


def _dots(values: Sequence[float | None]) -> list[int]:
    """Sizes of markers: of a value between two gaps a line shows nothing; of the others it does."""
    near = zip([None, *values], values, [*values[1:], None], strict=False)
    return [
        _DOT if before is after is None and value is not None else 0
        for before, value, after in near
    ]


def _line(name: str) -> dict[str, Any]:
    return {"color": _colour(name), "width": 1.8, "dash": _DASHES.get(name, "solid")}


def _colour(name: str) -> str:
    return LIGHT[_COLOURS.get(name, "neutral")]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
