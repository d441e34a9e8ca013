"""The charts, as Plotly figures made from rows: pure functions, no store and no page.

A figure is the plain JSON form, {"data": [...], "layout": {...}}; `plotly.graph_objects.Figure`
takes it as it is. Colours are those of `LIGHT`; the page swaps them for `DARK` where the reader's
screen is dark. Blue against orange, and never hue alone, so that colour-blind readers lose nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pipelines.report import inert, wording
from pipelines.report.queries import HOUR, Bucket, Period

Figure = dict[str, Any]

# No two colours are equal, even if they look so: the page tells them apart by their value.
LIGHT = {
    "paper": "#faf9f5",
    "card": "#ffffff",
    "ink": "#1d2126",
    "muted": "#59616b",
    "rule": "#dcdad3",
    "negative": "#c2470d",
    "neutral": "#a4acb6",
    "positive": "#1d6fb5",
    "unsure": "#d3d8de",
    "expected": "#4d5762",
    "span": "#fbe9dc",
    "heat0": "#ece8df",
    "heat1": "#f3c7a5",
    "heat2": "#c2480e",
    "heat3": "#6b2405",
}
DARK = {
    "paper": "#14171b",
    "card": "#1c2026",
    "ink": "#e9e7e2",
    "muted": "#a7afb9",
    "rule": "#353b43",
    "negative": "#ff9159",
    "neutral": "#69727d",
    "positive": "#62a9ea",
    "unsure": "#434a53",
    "expected": "#aab3bd",
    "span": "#3a2a22",
    "heat0": "#23282f",
    "heat1": "#6b3a1f",
    "heat2": "#e5702f",
    "heat3": "#ffd0b0",
}

_DAY = 24 * HOUR
_STEPS = (HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, _DAY, 7 * _DAY, 28 * _DAY)

_FEWEST_FOR_SHARE = 5
"""A share of fewer messages than this says nothing and is not drawn."""

SENTIMENT_NAMES = {
    "negative": "negative",
    "neutral": "neutral",
    "positive": "positive",
    "unsure": "model unsure",
}


def bucket_seconds(span: Period, most: int) -> int:
    """The finest step from an hour to four weeks that cuts the period into at most `most`."""
    return next((step for step in _STEPS if span.seconds <= step * most), _STEPS[-1])


def net_mood(bucket: Bucket) -> float | None:
    """(positive - negative) / (negative + neutral + positive), -1 to 1; None for too few."""
    count = bucket.negative + bucket.neutral + bucket.positive
    return (bucket.positive - bucket.negative) / count if count >= _FEWEST_FOR_SHARE else None


def negative_share(bucket: Bucket) -> float | None:
    """negative / (negative + neutral + positive), 0 to 1; None for too few."""
    count = bucket.negative + bucket.neutral + bucket.positive
    return bucket.negative / count if count >= _FEWEST_FOR_SHARE else None


def mood(buckets: Sequence[Bucket], seconds: int, alerts: Sequence[tuple[datetime, str]]) -> Figure:
    """Net mood above, messages by sentiment below, alerts as diamonds at (time, title)."""
    starts = [_at(bucket.start) for bucket in buckets]
    middles = [_at(bucket.start + timedelta(seconds=seconds / 2)) for bucket in buckets]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": name,
            "x": starts,
            "y": [_sentiments(bucket)[label] for bucket in buckets],
            "offset": 0,
            "width": seconds * 1000,
            "marker": {"color": LIGHT[label], "line": {"width": 0}},
            "hovertemplate": f"%{{y:,}} {name}<extra></extra>",
        }
        for label, name in SENTIMENT_NAMES.items()
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "net mood",
            "x": middles,
            "y": [net_mood(bucket) for bucket in buckets],
            "yaxis": "y2",
            "line": {"color": LIGHT["ink"], "width": 1.8},
            "connectgaps": False,
            "showlegend": False,
            "hovertemplate": "net mood %{y:+.2f}<extra></extra>",
        }
    )
    if alerts:
        data.append(_alert_markers(alerts))
    layout = plain_layout(showlegend=True, barmode="stack", bargap=0, height=420)
    layout["xaxis"] |= {"anchor": "y", "type": "date"}
    layout["yaxis"] |= {"domain": [0, 0.58], "title": axis_title("messages"), "rangemode": "tozero"}
    layout["yaxis2"] = axis(
        domain=[0.66, 1],
        title=axis_title("net mood"),
        range=[-1.15, 1.15],
        tickvals=[-1, 0, 1],
        ticktext=["−1", "0", "+1"],
        zeroline=True,
        zerolinecolor=LIGHT["muted"],
        zerolinewidth=1,
    )
    layout["shapes"] = [
        _line(_at(moment), LIGHT["negative"], {"width": 1, "dash": "dot"}) for moment, _ in alerts
    ]
    return {"data": data, "layout": layout}


def topics(rows: Mapping[str, Sequence[Bucket]], seconds: int, names: Mapping[str, str]) -> Figure:
    """Share of negative messages by topic (rows, the largest on top) and time, as a heat map."""
    starts = sorted({bucket.start for row in rows.values() for bucket in row})
    ordered = list(rows)[::-1]
    by_start = {key: {bucket.start: bucket for bucket in rows[key]} for key in ordered}
    cells = [[by_start[key].get(start) for start in starts] for key in ordered]
    data = {
        "type": "heatmap",
        "x": [_at(start + timedelta(seconds=seconds / 2)) for start in starts],
        "y": [inert.label(names[key]) for key in ordered],
        "z": [[cell and negative_share(cell) for cell in row] for row in cells],
        "customdata": [[cell.messages if cell else 0 for cell in row] for row in cells],
        "hovertemplate": "%{y}<br>%{x|%-d %b %Y %H:%M} UTC<br>%{z:.0%} negative"
        " of %{customdata:,} messages<extra></extra>",
        "hoverongaps": False,
        "zmin": 0,
        "zmax": 1,
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
            "tickformat": ".0%",
            "tickvals": [0, 0.5, 1],
            "outlinewidth": 0,
            "tickfont": {"color": LIGHT["muted"], "size": 11},
        },
    }
    layout = plain_layout(margin={"l": 8, "r": 12, "t": 40, "b": 8}, height=90 + 21 * len(ordered))
    layout["xaxis"] |= {"type": "date", "showgrid": False, "nticks": 6}
    if seconds >= _DAY // 4:
        layout["xaxis"]["tickformat"] = "%-d %b\n%Y"
    layout["yaxis"] |= {
        "automargin": True,
        "showgrid": False,
        "ticksuffix": "  ",
        "nticks": 0,
        "dtick": 1,
    }
    return {"data": [data], "layout": layout}


def surge(
    observed: Sequence[tuple[datetime, float]],
    expected: Sequence[tuple[datetime, float]],
    *,
    counted: str,
    opened: datetime,
    closed: datetime,
) -> Figure:
    """What was counted in the sliding window against what was expected; the alert's span shaded."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": counted,
            "x": [_at(moment) for moment, _ in observed],
            "y": [value for _, value in observed],
            "line": {"color": LIGHT["negative"], "width": 2, "shape": "hv"},
            "hovertemplate": f"%{{y:.4~g}} {counted}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines+markers" if len(expected) == 1 else "lines",
            "name": "expected",
            "x": [_at(moment) for moment, _ in expected],
            "y": [value for _, value in expected],
            "line": {"color": LIGHT["expected"], "width": 2, "dash": "dash"},
            "hovertemplate": "%{y:.2~f} expected<extra></extra>",
        },
    ]
    layout = plain_layout(showlegend=True, height=250)
    layout["xaxis"] |= {"type": "date"}
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["shapes"] = [
        {
            "type": "rect",
            "layer": "below",
            "xref": "x",
            "yref": "paper",
            "x0": _at(opened),
            "x1": _at(closed),
            "y0": 0,
            "y1": 1,
            "fillcolor": LIGHT["span"],
            "line": {"width": 0},
        },
        _line(_at(opened), LIGHT["negative"], {"width": 1.5}),
    ]
    return {"data": data, "layout": layout}


def earlier_days(days: Sequence[tuple[datetime, float]], now: tuple[datetime, float]) -> Figure:
    """The count at the same hour on earlier days, and the alert's own bar last."""
    bars = [*days, now]
    names = [f"{moment.day} {moment:%b}" for moment, _ in bars]
    data = {
        "type": "bar",
        "x": names,
        "y": [value for _, value in bars],
        "marker": {"color": [LIGHT["neutral"]] * len(days) + [LIGHT["negative"]]},
        "hovertemplate": "%{x}: %{y:.4~g}<extra></extra>",
        "text": [wording.number(value) for _, value in bars],
        "textposition": "outside",
        "textfont": {"color": LIGHT["muted"], "size": 11},
        "cliponaxis": False,
    }
    layout = plain_layout(margin={"l": 8, "r": 8, "t": 30, "b": 8}, bargap=0.35, height=250)
    layout["xaxis"] |= {
        "type": "category",
        "showgrid": False,
        "tickvals": [names[0], names[len(names) // 2], names[-1]],
    }
    layout["yaxis"] |= {"visible": False, "rangemode": "tozero"}
    return {"data": [data], "layout": layout}


def sparkline(values: Sequence[float], width: int = 140, height: int = 28) -> str:
    """The points of an SVG polyline, zero at the foot and the largest value at the head."""
    top = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    return " ".join(
        f"{index * step:.1f},{height - 2 - (height - 4) * value / top:.1f}"
        for index, value in enumerate(values)
    )


def _sentiments(bucket: Bucket) -> dict[str, int]:
    return {
        "negative": bucket.negative,
        "neutral": bucket.neutral,
        "positive": bucket.positive,
        "unsure": bucket.abstained,
    }


def _alert_markers(alerts: Sequence[tuple[datetime, str]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "alert opened",
        "x": [_at(moment) for moment, _ in alerts],
        "y": [1] * len(alerts),
        "yaxis": "y2",
        "text": [inert.label(title) for _, title in alerts],
        "marker": {
            "symbol": "diamond",
            "size": 11,
            "color": LIGHT["negative"],
            "line": {"color": LIGHT["card"], "width": 1.5},
        },
        "hovertemplate": "<b>%{text}</b><extra></extra>",
    }


def _line(x: str, color: str, line: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "line",
        "layer": "below",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": color} | line,
    }


def plain_layout(**extra: Any) -> dict[str, Any]:
    """The layout that every chart here shares."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": LIGHT["ink"]},
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "showlegend": False,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "traceorder": "normal",
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": LIGHT["card"], "bordercolor": LIGHT["rule"]},
        "dragmode": False,
        "xaxis": axis(hoverformat="%-d %b %Y, %H:%M UTC"),
        "yaxis": axis(),
    } | extra


def axis(**extra: Any) -> dict[str, Any]:
    """An axis as every chart here has it."""
    return {
        "fixedrange": True,
        "automargin": True,
        "gridcolor": LIGHT["rule"],
        "linecolor": LIGHT["rule"],
        "zeroline": False,
        "tickfont": {"color": LIGHT["muted"], "size": 11},
        "tickangle": 0,
        "nticks": 7,
    } | extra


def axis_title(text: str) -> dict[str, Any]:
    """The title of an axis, small and quiet."""
    return {"text": text, "font": {"size": 11, "color": LIGHT["muted"]}, "standoff": 6}


def _at(moment: datetime) -> str:
    """As Plotly reads a time without shifting it: UTC, no zone."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
