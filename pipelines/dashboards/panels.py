"""The parts that dashboards are put together from, over Grafana's own builders.

A panel is made from what a person must know to read it: a title, a description, a unit, queries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

STORE_TYPE = "grafana-postgresql-datasource"
STORE = DataSourceRef(type_val=STORE_TYPE, uid="${store}")
METRICS = DataSourceRef(type_val="prometheus", uid="${metrics}")

RED, ORANGE, GREEN, BLUE, GREY = "red", "orange", "green", "blue", "#8e8e8e"
COLOURS = {
    "negative": RED,
    "neutral": GREY,
    "positive": GREEN,
    "unsure": "#d8d9da",
    "low": BLUE,
    "medium": "yellow",
    "high": ORANGE,
    "critical": RED,
}
"""The same name has the same colour everywhere."""

_POINTS = 400
_REFRESH = ["30s", "1m", "5m", "15m", "1h"]
_TAG = "foreshock"


class Sql(Dataquery, Builder[Dataquery]):
    """A query of Grafana's PostgreSQL data source; the SDK has none of its own.

    `over_time`: rows have a column `time`, else they are a table.
    """

    def __init__(self, sql: str, *, over_time: bool, ref: str = "A") -> None:
        self._said: dict[str, object] = {
            "refId": ref,
            "datasource": STORE,
            "format": "time_series" if over_time else "table",
            "rawQuery": True,
            "editorMode": "code",
            "rawSql": sql.strip(),
        }

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return self._said


@dataclass(frozen=True)
class Link:
    """A way from a cell in `column` to another dashboard, which shows the same time and rules."""

    column: str
    dashboard: str
    variable: str

    def property(self) -> DynamicConfigValue:
        url = (
            f"/d/{self.dashboard}?var-{self.variable}=${{__value.text:percentencode}}"
            "&var-configuration=${configuration}&${store:queryparam}&${__url_time_range}"
        )
        return DynamicConfigValue("links", [{"title": f"Open this {self.variable}", "url": url}])


def number(
    title: str,
    description: str,
    sql: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    decimals: float | None = None,
    width: int = 6,
) -> Any:
    """One figure, the first row's; `steps`: from which value on which colour."""
    panel = stat.Panel().with_target(Sql(sql, over_time=False)).thresholds(_thresholds(steps))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if decimals is not None:
        panel.decimals(decimals)
    return _described(panel, title, description, width, 4).unit(unit).no_value("none")


def metric_number(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    width: int = 6,
) -> Any:
    """One figure of now, from Prometheus."""
    query = prometheus.Dataquery().expr(expression).instant().ref_id("A").datasource(METRICS)
    panel = stat.Panel().with_target(query).thresholds(_thresholds(steps))
    panel.datasource(METRICS)
    return _described(panel, title, description, width, 4).unit(unit).no_value("none")


def lines(
    title: str,
    description: str,
    sql: str | Sequence[str],
    *,
    unit: str = "short",
    width: int = 12,
    points: Iterable[str] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Columns over time as lines, broken where there is no value; `points`: those that are drawn
    as points."""
    panel = _over_time(title, description, sql, width).unit(unit).span_nulls(False).line_width(2)
    # A value between two gaps is no line: on its own Grafana shows it as a point.
    panel.show_points(VisibilityMode.AUTO).line_interpolation(LineInterpolation.LINEAR)
    for name in points:
        panel.override_by_name(
            name,
            [
                DynamicConfigValue("custom.drawStyle", "points"),
                DynamicConfigValue("custom.pointSize", 8),
                DynamicConfigValue("custom.showPoints", "always"),
            ],
        )
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    return panel


def stacked(title: str, description: str, sql: str, *, unit: str = "short", width: int = 12) -> Any:
    """Columns over time as bars on top of each other."""
    panel = _over_time(title, description, sql, width).unit(unit).draw_style(GraphDrawStyle.BARS)
    panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(80)
    return panel.line_width(0).min(0)


def rates(
    title: str,
    description: str,
    expressions: Sequence[tuple[str, str]],
    *,
    unit: str = "short",
    width: int = 8,
    steps: Sequence[tuple[float | None, str]] | None = None,
) -> Any:
    """Lines from Prometheus: pairs of expression and legend; `steps` draw a threshold."""
    panel = timeseries.Panel().datasource(METRICS).unit(unit).min(0).span_nulls(False)
    for index, (expression, legend) in enumerate(expressions):
        panel.with_target(
            prometheus.Dataquery()
            .expr(expression)
            .range()
            .legend_format(legend)
            .ref_id(chr(ord("A") + index))
            .datasource(METRICS)
        )
    if steps:
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE)
        )
    panel.legend(_legend()).tooltip(_tooltip()).fill_opacity(10)
    return _described(panel, title, description, width, 8)


def heat(title: str, description: str, sql: str, *, width: int = 24) -> Any:
    """One row for each name in `metric`, coloured by `value` over time."""
    panel = heatmap.Panel().with_target(Sql(sql, over_time=True)).calculate(False)
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges"))
    panel.max_data_points(120).interval("1m")
    return _described(panel, title, description, width, 12)


def rows(
    title: str,
    description: str,
    sql: str,
    *,
    width: int = 12,
    height: int = 9,
    links: Iterable[Link] = (),
    units: Iterable[tuple[str, str]] = (),
    addresses: Iterable[str] = (),
) -> Any:
    """A table. `units`: pairs of column and unit; `addresses`: columns that hold a web address."""
    panel = table.Panel().with_target(Sql(sql, over_time=False)).filterable(True)
    for link in links:
        panel.override_by_name(link.column, [link.property()])
    for column, unit in units:
        panel.override_by_name(column, [DynamicConfigValue("unit", unit)])
    for column in addresses:
        open_it = [{"title": "Open the source", "url": "${__value.raw}", "targetBlank": True}]
        panel.override_by_name(column, [DynamicConfigValue("links", open_it)])
    for column in ("severity", "sentiment"):
        panel.override_by_name(column, [DynamicConfigValue("mappings", [_coloured()]), _COLOURED])
    return _described(panel, title, description, width, height).no_value("none")


def bars(title: str, description: str, sql: str, *, unit: str = "short", width: int = 12) -> Any:
    """A bar for each row: the first column names it, the others are its lengths."""
    panel = barchart.Panel().with_target(Sql(sql, over_time=False)).unit(unit)
    panel.orientation(VizOrientation.HORIZONTAL).legend(_legend()).stacking(StackingMode.NORMAL)
    for name, colour in COLOURS.items():
        panel.override_by_name(name, [_fixed(colour)])
    return _described(panel, title, description, width, 9).no_value("none")


def shares(title: str, description: str, sql: str, *, unit: str = "short", width: int = 8) -> Any:
    """A gauge for each row of a name and a value."""
    panel = bargauge.Panel().with_target(Sql(sql, over_time=False)).unit(unit).min(0)
    panel.reduce_options(common.ReduceDataOptions().values(True).calcs(["lastNotNull"]))
    panel.orientation(VizOrientation.HORIZONTAL)
    return _described(panel, title, description, width, 8).no_value("none")


def store_variable() -> dashboard.DatasourceVariable:
    """Which of Grafana's data sources is the store."""
    return dashboard.DatasourceVariable("store").label("Store").type(STORE_TYPE)


def metrics_variable() -> dashboard.DatasourceVariable:
    """Which of Grafana's data sources is Prometheus."""
    return dashboard.DatasourceVariable("metrics").label("Prometheus").type("prometheus")


def query_variable(name: str, label: str, description: str, sql: str) -> dashboard.QueryVariable:
    """A variable whose values the store gives, for the time shown, the most telling first."""
    variable = dashboard.QueryVariable(name).label(label).description(description)
    variable.datasource(STORE).query(sql.strip()).definition(sql.strip())
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).allow_custom_value(True)


def list_variable(name: str, label: str, values: Sequence[str]) -> dashboard.CustomVariable:
    """A variable whose values are known."""
    options = [VariableOption(index == 0, one, one) for index, one in enumerate(values)]
    variable = dashboard.CustomVariable(name).label(label).values(",".join(values))
    return variable.options(options).current(options[0])


CONFIGURATION = """
WITH RECURSIVE every(configuration) AS (
  SELECT min(configuration) FROM window_stats
  UNION ALL
  SELECT (SELECT min(w.configuration) FROM window_stats w
          WHERE w.configuration > every.configuration)
  FROM every WHERE every.configuration IS NOT NULL
)
SELECT configuration FROM every WHERE configuration IS NOT NULL
ORDER BY (SELECT max(w.start) FROM window_stats w WHERE w.configuration = every.configuration
          AND w.key = 'overall' AND w.seconds = 3600) DESC, configuration
"""


def configuration_variable() -> dashboard.QueryVariable:
    """Whose windows, spikes and alerts are shown: model and rules, by their hash."""
    return query_variable(
        "configuration",
        "Model and rules",
        "Windows, spikes and alerts are kept for each model and set of rules; the newest is first.",
        CONFIGURATION,
    )


def assembled(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Builder[Any]],
    panels: Sequence[Any],
    *,
    marked: str = "",
) -> Dashboard:
    """The dashboard: panels in reading order, 24 columns wide, with alerts marked on all of them;
    `marked`: on which key alone, as SQL.

    The time range is that of a stream; `pipelines.dashboards.building` sets that of a history.
    """
    board = dashboard.Dashboard(title).uid(uid).description(description).tags([_TAG])
    board.timezone("utc").tooltip(DashboardCursorSync.CROSSHAIR).editable().refresh("1m")
    board.time("now-24h", "now")
    board.timepicker(dashboard.TimePicker().refresh_intervals(_REFRESH))
    for variable in variables:
        board.with_variable(variable)
    if any(variable.build().name == "configuration" for variable in variables):
        board.annotation(_alert_marks(marked))
    others = dashboard.DashboardLink("Foreshock").type(DashboardLinkType.DASHBOARDS)
    board.link(others.tags([_TAG]).as_dropdown(True).keep_time(True).include_vars(False))
    for index, panel in enumerate(panels, start=1):
        board.with_panel(panel.id(index))
    return board.build()


def alert_marks(key: str = "") -> str:
    """When alerts opened and ended; `key`: of which key alone, as SQL."""
    of_key = f" AND key = {key}" if key else ""
    return f"""
SELECT opened_at AS "time", coalesce(resolved_at, updated_at) AS "timeend",
  key || ', ' || kind AS "text", severity AS "tags"
FROM alerts
WHERE configuration = ${{configuration:sqlstring}} AND $__timeFilter(opened_at){of_key}
ORDER BY opened_at LIMIT 500
"""


def _alert_marks(key: str) -> dashboard.AnnotationQuery:
    query = Sql(alert_marks(key), over_time=False, ref="Alerts")
    marks = dashboard.AnnotationQuery().name("Alerts").datasource(STORE).target(query)
    return marks.enable(True).icon_color(RED)


def _over_time(title: str, description: str, sql: str | Sequence[str], width: int) -> Any:
    panel = timeseries.Panel().datasource(STORE)
    for index, one in enumerate([sql] if isinstance(sql, str) else sql):
        panel.with_target(Sql(one, over_time=True, ref=chr(ord("A") + index)))
    panel.legend(_legend()).tooltip(_tooltip()).max_data_points(_POINTS).interval("1m")
    for name, colour in COLOURS.items():
        panel.override_by_name(name, [_fixed(colour)])
    return _described(panel, title, description, width, 8)


def _described(panel: Any, title: str, description: str, width: int, height: int) -> Any:
    panel.title(title).description(description).span(width).height(height)
    if panel.build().datasource is None:
        panel.datasource(STORE)
    return panel


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    config = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value, colour) for value, colour in steps])


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    return legend.placement(LegendPlacement.BOTTOM).show_legend(True)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)


def _fixed(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


_COLOURED = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})


def _coloured() -> dict[str, object]:
    options = {
        name: {"color": colour, "index": index, "text": name}
        for index, (name, colour) in enumerate(COLOURS.items())
    }
    return {"type": "value", "options": options}
