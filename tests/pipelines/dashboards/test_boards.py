"""What Grafana is given: dashboards that fit its schema, links that lead somewhere, files."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.store import Store
from pipelines.dashboards import provisioning
from pipelines.dashboards.asking import Scope, for_postgresql
from pipelines.dashboards.building import BOARDS, Span, boards, write
from pipelines.dashboards.checking import answer
from pipelines.dashboards.validation import violations

NOW = datetime(2014, 4, 6, tzinfo=UTC)
ALL = {board["uid"]: board for board in boards(None, NOW)}


@pytest.mark.parametrize("uid", ALL)
def test_a_dashboard_fits_grafanas_schema(uid: str) -> None:
    assert violations(ALL[uid]) == []


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [
        (("panels", 0, "options"), "colorModee", "value", "colorModee is not in the schema"),
        ((), "graphTooltip", 7, "graph_tooltip is 7"),
        (("panels", 1, "gridPos"), "w", "6", "grid_pos.w is '6', not int"),
        (("panels", 4, "fieldConfig", "defaults", "custom"), "drawStyle", "dots", "draw_style"),
    ],
)
def test_what_the_schema_does_not_know_is_named(
    place: tuple[Any, ...], name: str, value: Any, said: str
) -> None:
    board = json.loads(json.dumps(ALL["foreshock-mood"]))
    part = board
    for step in place:
        part = part[step]
    part[name] = value
    (found,) = violations(board)
    assert said in found


@pytest.mark.parametrize("uid", ALL)
def test_every_panel_says_what_it_shows_and_in_which_unit(uid: str) -> None:
    board = ALL[uid]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["graphTooltip"] == 1  # a shared crosshair
    for panel in board["panels"]:
        assert len(panel["description"]) > 20, panel["title"]
        if panel["type"] not in ("table", "heatmap"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_no_line_leads_over_time_without_rows() -> None:
    panels = [
        panel
        for board in ALL.values()
        for panel in board["panels"]
        if panel["type"] == "timeseries"
    ]
    custom = {panel["title"]: panel["fieldConfig"]["defaults"]["custom"] for panel in panels}
    assert not any(one.get("spanNulls") for one in custom.values())
    for panel in panels:
        sql = panel["targets"][0].get("rawSql", "")
        for added in re.findall(r"\$__timeGroup\([^()]*\$__interval(.*?)\)", sql):
            share = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
            assert added == (", NULL" if share else ", 0"), panel["title"]
    assert custom["Negative share over time"]["showPoints"] == "auto"


def test_links_lead_to_dashboards_and_variables_that_are_there() -> None:
    urls = re.findall(r'"/d/[^"]+"', json.dumps(list(ALL.values())))
    assert urls
    for url in urls:
        uid, _, rest = url.strip('"').removeprefix("/d/").partition("?")
        known = {variable["name"] for variable in ALL[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", rest)) <= known


def test_a_history_is_shown_whole_and_a_stream_as_the_last_day() -> None:
    span = NOW - timedelta(days=40), NOW
    old = boards(span, NOW + timedelta(days=300))[0]
    assert old["time"] == {"from": "2014-02-25T00:00:00.000Z", "to": "2014-04-06T00:00:00.000Z"}
    assert old["refresh"] == ""
    assert boards(span, NOW + timedelta(hours=1))[0]["time"] == {"from": "now-24h", "to": "now"}


def test_the_folder_holds_what_grafana_provisions_itself_with(tmp_path: Path) -> None:
    files = write(tmp_path, None)
    read = {
        path.relative_to(tmp_path).as_posix(): (
            json.loads(path.read_text())
            if path.suffix == ".json"
            else yaml.safe_load(path.read_text())
        )
        for path in files
    }
    assert {f"dashboards/{uid}.json" for uid in BOARDS} < set(read)
    provider = read["provisioning/dashboards/foreshock.yaml"]["providers"][0]
    assert list(Path(provider["options"]["path"]).glob("*.json"))
    sources = read["provisioning/datasources/foreshock.yaml"]["datasources"]
    (group,) = read["provisioning/alerting/foreshock-rules.yaml"]["groups"]
    asked = {part["datasourceUid"] for rule in group["rules"] for part in rule["data"]}
    assert asked == {sources[0]["uid"], "__expr__"}
    (point,) = read["provisioning/alerting/foreshock-contact-points.yaml"]["contactPoints"]
    told = {rule["notification_settings"]["receiver"] for rule in group["rules"]}
    assert told == {point["name"]}
    boards_named = {rule["annotations"]["__dashboardUid__"] for rule in group["rules"]}
    assert boards_named <= set(BOARDS)


def test_no_secret_is_written(tmp_path: Path) -> None:
    write(tmp_path, None)
    text = (tmp_path / "provisioning/datasources/foreshock.yaml").read_text()
    assert "password: $FORESHOCK_STORE_PASSWORD" in text


def test_alert_rules_ask_what_the_store_can_answer(filled: Store, shown: Span) -> None:
    for sql, value in (
        (provisioning.UNANSWERED, 0),
        (provisioning.DELIVERY_FAILED, 0),
        (provisioning.DEAD_LETTERS, 3),
    ):
        assert answer(sql, filled, Scope(*shown, {})).rows == [(value,)]


def test_values_of_variables_stay_values() -> None:
    scope = Scope(NOW, NOW, {"company": "x'; DROP TABLE tags; --"})
    filled = for_postgresql("SELECT ${company:sqlstring}", scope)
    assert filled == "SELECT 'x''; DROP TABLE tags; --'"
    scope = Scope(NOW, NOW, {"company": "${topic:sqlstring}", "topic": " OR 1=1 --"})
    filled = for_postgresql("SELECT ${company:sqlstring}, ${topic:sqlstring}", scope)
    assert filled == "SELECT '${topic:sqlstring}', ' OR 1=1 --'"
