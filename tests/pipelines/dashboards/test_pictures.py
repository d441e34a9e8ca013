"""`foreshock dashboards pictures`: what Grafana would draw, as a page that needs no network."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.store import Store
from pipelines.command.main import run
from pipelines.dashboards import charts, pictures
from pipelines.dashboards.asking import Scope
from pipelines.dashboards.building import BOARDS, Span, boards
from pipelines.dashboards.checking import Answer
from tests.servers.chromium import CHROMIUM, Browser

GIVEN = {"company": "BA", "topic": "Legal | Regulation"}
NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)
DRAWN = """(async () => {
  for (const chart of document.querySelectorAll(".chart")) {
    chart.scrollIntoView();  // a chart is drawn when it comes near
    while (!chart.querySelector(".main-svg")) await new Promise(requestAnimationFrame);
  }
  return document.querySelectorAll(".chart > .plot-container").length;
})()"""


@pytest.fixture(scope="module")
def page(filled: Store, shown: Span, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "dashboards.html"
    pictures.write(path, boards(shown, NOON), filled, shown, GIVEN)
    return path


def test_the_page_has_every_panel_of_the_store(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for board in boards(None, NOON):
        assert f'<section id="{board["uid"]}"' in text
        ours = [panel for panel in board["panels"] if "rawSql" in panel["targets"][0]]
        for panel in ours:
            assert f"<h3>{panel['title']}</h3>" in text
    assert "Nothing to show" not in text
    assert "needs a store in PostgreSQL" not in text
    assert len(BOARDS) == text.count("<section ")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
def test_a_browser_draws_it_without_network_or_errors(page: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page.as_uri())
        assert browser.value(DRAWN) == page.read_text(encoding="utf-8").count('class="chart"') > 15
        requests = [sent["request"]["url"] for sent in browser.seen("Network.requestWillBeSent")]
        assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
        assert not browser.seen("Runtime.exceptionThrown", "Log.entryAdded")
        phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.call("Emulation.setDeviceMetricsOverride", **phone)
        browser.open(page.as_uri())
        browser.value(DRAWN)
        assert browser.value("document.documentElement.scrollWidth") == 390
    finally:
        browser.close()


def test_the_style_sheet_knows_every_width() -> None:
    widths = {panel["gridPos"]["w"] for board in boards(None, NOON) for panel in board["panels"]}
    assert [width for width in widths if f".span-{width}{{" not in pictures.style()] == []


def test_a_figure_holds_the_rows_of_the_answer() -> None:
    answer = Answer(["time", "negative", "usual"], [(Decimal(0), Decimal(3), 1.5), (60, 4, None)])
    figure = charts.stacked(answer, 60, 200, [30.0])
    assert [trace["y"] for trace in figure["data"]] == [[3.0, 4.0], [1.5, None]]
    assert figure["data"][0]["x"] == ["1970-01-01T00:00:00", "1970-01-01T00:01:00"]
    assert figure["data"][0]["width"] == 60_000
    (mark,) = figure["layout"]["shapes"]
    assert mark["x0"] == "1970-01-01T00:00:30"
    drawn = charts.lines([answer], {"usual"}, False, 200, [])
    assert [trace["mode"] for trace in drawn["data"]] == ["lines", "markers"]


def test_a_line_is_broken_where_there_is_no_value_and_one_alone_is_a_dot() -> None:
    values = [0.0, 0.5, None, 0.25, None, None, 0.0, 1.0]
    shares = Answer(["time", "negative share"], list(enumerate(values)))
    (line,) = charts.lines([shares], (), True, 200, [])["data"]
    assert line["y"] == values
    assert not line["connectgaps"]
    alone = [value for value, size in zip(values, line["marker"]["size"], strict=True) if size]
    assert alone == [0.25]


def test_time_without_messages_is_a_gap_in_shares_and_zero_in_counts(
    filled: Store, shown: Span
) -> None:
    """Of a company of whom nobody speaks for days."""
    (board,) = [board for board in boards(shown, NOON) if board["uid"] == "foreshock-company"]
    board["panels"] = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    scope = Scope(*shown, {"company": "BA"})
    stories, moods, share = (
        picture.chart.figure["data"]
        for picture in pictures.view(board, filled, scope).pictures
        if picture.chart
    )
    silent = [not sum(counts) for counts in zip(*(trace["y"] for trace in moods), strict=True)]
    assert 0 < sum(silent) < len(silent)
    assert all(value is None for value, quiet in zip(share[0]["y"], silent, strict=True) if quiet)
    assert share[0]["x"] == moods[0]["x"]
    assert _apart(share[0]["x"]) == {timedelta(seconds=scope.interval(400))}
    assert _apart(stories[0]["x"]) == {timedelta(hours=1)}
    assert None not in stories[0]["y"]


def _apart(times: list[str]) -> set[timedelta]:
    return {
        datetime.fromisoformat(after) - datetime.fromisoformat(before)
        for before, after in pairwise(times)
    }


def test_a_heat_map_is_blank_where_there_is_no_row() -> None:
    answer = Answer(["time", "metric", "value"], [(0, "B", 1), (120, "A", 2), (120, "B", 3)])
    (trace,) = charts.heat(answer, 60)["data"]
    assert trace["y"] == ["B", "A"]
    assert trace["z"] == [[1.0, None, 3.0], [None, None, 2.0]]


def test_text_of_messages_stays_text() -> None:
    hostile = Answer(["company", "messages"], [("<b>\u202eevil</b>", 3)])
    assert charts.bars(hostile)["data"][0]["y"] == ["&lt;b&gt;⟦U+202E⟧evil&lt;/b&gt;"]


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", "dashboards", "pictures", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


def test_the_command_writes_the_page(
    foreshock: Callable[..., tuple[int, str]], filled: Store, tmp_path: Path
) -> None:
    url = filled.engine.url.render_as_string(hide_password=False)
    code, said = foreshock("--database", url, "--out", f"{tmp_path}/d.html")
    assert (code, said.split()) == (0, ["Dashboards:", f"{tmp_path}/d.html"])
    assert re.search(r"<p class=\"standfirst\">.+2014", (tmp_path / "d.html").read_text())


def test_a_store_without_a_message_is_said(
    foreshock: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    Store.open(tmp_path / "empty.db").close()
    code, said = foreshock("--database", f"sqlite:///{tmp_path}/empty.db")
    assert code == 1
    assert "holds no message" in said
