"""The report in a real browser: it draws, asks the network for nothing, and hostile text rests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.report import write_report
from tests.pipelines.report_rows import CONFIGURATION, RUN, filled, name
from tests.pipelines.test_report_page import ADDRESSES, HOSTILE
from tests.servers.chromium import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with filled(folder / "db", texts=HOSTILE, urls=ADDRESSES) as store:
        write_report(
            store,
            folder / "report.html",
            configuration=CONFIGURATION,
            run=RUN,
            explain=lambda text, label: [(0, len(text) // 2, "", 1.0)],
            display_name=name,
        )
    return folder / "report.html"


DRAWN = """Promise.all([...document.querySelectorAll(".chart")].map(chart => new Promise(done => {
  chart.scrollIntoView();
  const look = () => chart.querySelector(".main-svg") ? done() : requestAnimationFrame(look);
  look();
}))).then(() => document.querySelectorAll(".chart > .plot-container").length)"""


def test_the_page_draws_its_charts_without_network_errors_or_dialogs(
    browser: Browser, report: Path
) -> None:
    browser.open(report.as_uri())
    assert browser.value(DRAWN) == 4
    requests = [sent["request"]["url"] for sent in browser.seen("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert not browser.seen("Page.javascriptDialogOpening")
    assert not browser.seen("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def test_hostile_text_reaches_the_reader_as_text(browser: Browser, report: Path) -> None:
    browser.open(report.as_uri())
    quoted = browser.value('[...document.querySelectorAll("blockquote")].map(q => q.innerText)')
    assert quoted[0] == HOSTILE[0]
    assert quoted[4] == HOSTILE[4]
    assert "⟦U+202E⟧" in quoted[2]
    assert browser.value('document.querySelectorAll("blockquote :not(bdi, mark)").length') == 0


def test_nothing_sticks_out_sideways_on_a_phone(browser: Browser, report: Path) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **phone)
    browser.open(report.as_uri())
    browser.value(DRAWN)
    assert browser.value("document.documentElement.scrollWidth") == 390
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_charts_follow_the_readers_colours_and_print_in_the_light_ones(
    browser: Browser, report: Path
) -> None:
    ink = 'getComputedStyle(document.querySelector("#mood .xtick text")).fill'
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])
    browser.open(report.as_uri())
    browser.value(DRAWN)
    dark = browser.value(ink)
    browser.value('dispatchEvent(new Event("beforeprint"))')
    printed = browser.value(ink)
    browser.value('dispatchEvent(new Event("afterprint"))')
    assert browser.value(ink) == dark
    browser.call("Emulation.setEmulatedMedia", features=[scheme | {"value": "light"}])
    browser.open(report.as_uri())
    browser.value(DRAWN)
    assert browser.value(ink) == printed != dark


def test_a_click_sorts_the_companies(browser: Browser, report: Path) -> None:
    browser.open(report.as_uri())
    browser.value('document.querySelectorAll(".sortable button")[1].click()')
    assert browser.value('document.querySelector("[aria-sort]").innerText') == "Messages"


def test_without_scripts_the_numbers_are_there(browser: Browser, report: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report.as_uri())
    root = browser.call("DOM.getDocument", depth=1)["root"]["nodeId"]
    found = browser.call("DOM.querySelectorAll", nodeId=root, selector="noscript p")["nodeIds"]
    assert len(found) == 1
    tables = browser.call("DOM.querySelectorAll", nodeId=root, selector="details table")["nodeIds"]
    assert len(tables) == 4
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
