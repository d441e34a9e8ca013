"""The charts of an evaluation, as Plotly figures: pure functions of its figures."""

from collections.abc import Mapping, Sequence

from models.calibration import CalibrationBin
from models.evaluation import Figures, Interval
from pipelines.report import inert
from pipelines.report.figures import LIGHT, Figure, axis, axis_title, plain_layout

_NAMED = 4
"""With more labels than these the columns of the confusion matrix are numbered, not named."""


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure:
    """Rows are the truth, columns the prediction; the shade is the share of the row."""
    named = len(labels) <= _NAMED
    names = [inert.label(label) for label in labels]
    rows = names if named else [f"{i}  {name}" for i, name in enumerate(names, 1)]
    columns = names if named else [str(i) for i in range(1, len(names) + 1)]
    data = {
        "type": "heatmap",
        "x": columns,
        "y": rows,
        "z": [[count / max(1, sum(row)) for count in row] for row in counts],
        "text": [[f"{count:,}" if count else "" for count in row] for row in counts],
        "customdata": [
            [[name, count] for name, count in zip(names, row, strict=True)] for row in counts
        ],
        "texttemplate": "%{text}",
        "textfont": {"size": 14 if named else 10},
        "hovertemplate": "truth %{y}<br>predicted %{customdata[0]}<br>"
        "%{customdata[1]:,} texts, %{z:.0%} of the row<extra></extra>",
        "xgap": 2,
        "ygap": 2,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, LIGHT["heat0"]], [1, LIGHT["positive"]]],
        "showscale": False,
    }
    height = 300 if named else 70 + 26 * len(labels)
    layout = plain_layout(hovermode="closest", height=height, margin=_MARGIN)
    layout["xaxis"] = axis(
        type="category", side="top", showgrid=False, title=axis_title("predicted"), nticks=0
    )
    layout["yaxis"] = axis(
        type="category", autorange="reversed", showgrid=False, ticksuffix="  ", nticks=0, dtick=1
    )
    return {"data": [data], "layout": layout}


def calibration(bins: Sequence[CalibrationBin]) -> Figure:
    """Accuracy against confidence above, texts in each bin below."""
    filled = [b for b in bins if b.count]
    middles = [(b.low + b.high) / 2 for b in filled]
    width = [0.92 * (b.high - b.low) for b in filled]
    data = [
        {
            "type": "bar",
            "name": "share right",
            "x": middles,
            "y": [b.accuracy for b in filled],
            "width": width,
            "marker": {"color": LIGHT["positive"]},
            "customdata": [[b.count, b.confidence] for b in filled],
            "hovertemplate": "confidence %{customdata[1]:.1%}<br>right %{y:.1%}"
            " of %{customdata[0]:,} texts<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "as sure as right",
            "x": [0, 1],
            "y": [0, 1],
            "line": {"color": LIGHT["ink"], "width": 1.5, "dash": "dash"},
            "hoverinfo": "skip",
        },
        {
            "type": "bar",
            "x": middles,
            "y": [b.count for b in filled],
            "yaxis": "y2",
            "width": width,
            "marker": {"color": LIGHT["neutral"]},
            "showlegend": False,
            "hovertemplate": "%{y:,} texts<extra></extra>",
        },
    ]
    layout = plain_layout(showlegend=True, hovermode="closest", height=400)
    layout["xaxis"] = axis(
        range=[0, 1], anchor="y2", title=axis_title("confidence"), tickformat=".0%", dtick=0.2
    )
    layout["yaxis"] = axis(
        domain=[0.34, 1], range=[0, 1.02], tickformat=".0%", title=axis_title("right")
    )
    layout["yaxis2"] = axis(
        domain=[0, 0.26], title=axis_title("texts"), rangemode="tozero", nticks=3
    )
    return {"data": data, "layout": layout}


def intervals(rows: Mapping[str, Figures], accuracy: float) -> Figure:
    """Accuracy of each row with its 95 % interval; the dashed line is that of all texts."""
    names = [inert.label(name) for name in rows]
    data = {
        "type": "scatter",
        "mode": "markers",
        "x": [figures.accuracy for figures in rows.values()],
        "y": names,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_above(f.accuracy, f.accuracy_interval) for f in rows.values()],
            "arrayminus": [_below(f.accuracy, f.accuracy_interval) for f in rows.values()],
            "color": LIGHT["muted"],
            "thickness": 1.5,
            "width": 5,
        },
        "marker": {"color": LIGHT["positive"], "size": 10},
        "customdata": [f.n for f in rows.values()],
        "hovertemplate": "%{y}: %{x:.1%} of %{customdata:,} texts<extra></extra>",
    }
    layout = plain_layout(hovermode="closest", height=80 + 28 * len(rows), margin=_MARGIN)
    layout["xaxis"] = axis(tickformat=".0%", title=axis_title("accuracy"))
    layout["yaxis"] = axis(
        type="category", autorange="reversed", showgrid=False, ticksuffix="  ", nticks=0, dtick=1
    )
    layout["shapes"] = [
        {
            "type": "line",
            "layer": "below",
            "xref": "x",
            "yref": "paper",
            "x0": accuracy,
            "x1": accuracy,
            "y0": 0,
            "y1": 1,
            "line": {"color": LIGHT["ink"], "width": 1.5, "dash": "dash"},
        }
    ]
    return {"data": [data], "layout": layout}


_MARGIN = {"l": 8, "r": 16, "t": 12, "b": 8}


def _above(value: float, interval: Interval) -> float:
    return max(0.0, interval[1] - value)


def _below(value: float, interval: Interval) -> float:
    return max(0.0, value - interval[0])
