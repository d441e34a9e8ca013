"""A case in a real browser, from the log-in to the proof; and whether everybody can use it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerting.rules import version_of
from connectors.store import Store
from pipelines.audit import prove
from tests.pipelines.console.visiting import CHANGED, PASSWORD, at_work, populate, serving
from tests.pipelines.ledgers import stored
from tests.pipelines.report_rows import filled
from tests.pipelines.test_report_page import ADDRESSES, HOSTILE
from tests.servers.chromium import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")

UNLABELLED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
  .filter(one => !one.labels.length && !one.ariaLabel).map(one => one.outerHTML)"""
NAMELESS = """[...document.querySelectorAll('a, button')]
  .filter(one => !one.textContent.trim() && !one.ariaLabel).map(one => one.outerHTML)"""
CONTRAST = """(() => {
  const light = text => {
    const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = one => {
    const colour = getComputedStyle(one).backgroundColor;
    return colour !== 'rgba(0, 0, 0, 0)' && !colour.startsWith('color') ? colour
      : one.parentElement ? behind(one.parentElement) : 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('main p, main a, main td, main th, main dt, main dd, h1, h2,'
      + ' nav a, button, label, legend, small, code, .tag')]
    .filter(one => one.textContent.trim() && one.checkVisibility())
    .map(one => [light(getComputedStyle(one).color), light(behind(one)), one.outerHTML])
    .map(([a, b, html]) => [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), html])
    .filter(([ratio]) => ratio < 4.5);
})()"""


LOADED = """new Promise(done => { const there = of => document.querySelector(of);
  const look = () => there('.panel.waiting') || there('.board .chart') && !there('.main-svg')
    ? setTimeout(look, 50) : done(document.querySelectorAll('.main-svg').length); look(); })"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crawl") / "store.db"
    with filled(path, texts=HOSTILE, urls=ADDRESSES, alerts=()) as store:
        stored(store)
        populate(store)
        at_work(store)
    return path


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    with serving(f"sqlite:///{database}") as address:
        yield address


@pytest.fixture(scope="module")
def browser(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("profile"))
    log_in(running, url)
    yield running
    running.close()


def log_in(browser: Browser, url: str) -> None:
    browser.open(f"{url}/login")
    browser.value(
        f"document.querySelector('[name=name]').value = 'carl';"
        f"document.querySelector('[name=password]').value = '{PASSWORD}'"
    )
    click(browser, "main button")
    assert browser.value("location.pathname") == "/alerts"


def click(browser: Browser, selector: str) -> None:
    """Clicks what leads to another page, and waits for that."""
    browser.events.clear()
    browser.value(f"document.querySelector({selector!r}).click()")
    browser.loaded()


def said(browser: Browser, selector: str = "main") -> str:
    return str(browser.value(f"document.querySelector({selector!r}).innerText"))


def complaints(browser: Browser) -> list[str]:
    """What went wrong; Plotly tries some styles of its own, which the policy rightly blocks."""
    logged = [str(event["entry"]["text"]) for event in browser.seen("Log.entryAdded")]
    thrown = [str(event) for event in browser.seen("Runtime.exceptionThrown")]
    return [line for line in logged + thrown if "inline style" not in line and "[DOM]" not in line]


def test_a_case_from_the_log_in_to_the_proof(
    browser: Browser, url: str, database: Path, tmp_path: Path
) -> None:
    browser.open(f"{url}/alerts")
    click(browser, "main tbody th a")
    title = said(browser, "h1")
    assert "surge" in title
    assert "Boeing müde <script>alert(1)</script>" in said(browser)
    assert browser.value("document.querySelectorAll('main mark').length") > 0
    assert browser.value(
        "new Promise(done => { const look = () => document.querySelector('.main-svg')"
        " ? done(true) : setTimeout(look, 50); look(); })"
    )
    click(browser, "aside form[action$=acknowledge] button")
    assert "Acknowledged by carl" in said(browser, "aside")
    browser.value("document.querySelector('[name=rationale]').value = 'A list of tickers'")
    click(browser, "aside form[action$=dispose] button")
    assert "Disposed of as actionable" in said(browser, "aside")
    assert "A list of tickers" in said(browser, ".history")

    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.value("document.querySelector('aside form[action$=export] button').click()")
    browser.value(
        "new Promise(done => setTimeout(done, 50))"  # lets the click begin the download
    )
    while not any(
        e.get("method") == "Page.downloadProgress" and e["params"]["state"] == "completed"
        for e in browser.events
    ):
        browser.value("new Promise(done => setTimeout(done, 50))")
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"alert-\w{12}\.html", file.name)
    assert "A list of tickers" in file.read_text(encoding="utf-8")

    browser.open(f"{url}/ledger")
    click(browser, "main form button")
    while "is being read" in said(browser):
        browser.open(f"{url}/ledger")
    assert "It holds" in said(browser)
    with Store.open(database) as store:
        assert prove(store).holds


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_pages_can_be_read_and_used_by_everybody(
    browser: Browser, url: str, database: Path, scheme: str
) -> None:
    with Store.open(database) as store:
        alert = store.alerts()[0]["id"]
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    for path in (
        "/alerts?shelf=all",
        f"/alerts/{alert}",
        "/mood",
        "/companies/AMZN",
        "/dashboards",
        "/dashboards/company/AMZN",
        "/dashboards/topic",
        "/dashboards/alerts",
        "/dashboards/health",
        "/dashboards/mood?panel=5",
        "/messages?q=AMZN",
        "/messages/t:100",
        "/silences",
        "/rules",
        f"/rules/{version_of(CHANGED.encode())}",
        "/deliveries",
        "/ledger",
        "/account",
    ):
        browser.open(url + path)
        browser.value(LOADED)
        assert "could not be loaded" not in said(browser), path
        assert complaints(browser) == [], path
        assert browser.value("document.querySelectorAll('main, h1').length") == 2, path
        assert browser.value(UNLABELLED) == [], path
        assert browser.value(NAMELESS) == [], path
        assert browser.value(CONTRAST) == [], path
        assert browser.value("document.querySelector('a').textContent") == "Skip to the page"
        for width in (360, 1280):
            browser.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            wide = browser.value("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (path, width)


def test_a_dashboards_panels_come_after_it_and_are_drawn(browser: Browser, tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    with filled(database, texts=HOSTILE, urls=ADDRESSES, alerts=()) as store:
        populate(store)
    with serving(f"sqlite:///{database}") as url:
        here = url.replace("127.0.0.1", "localhost")  # whose cookies are others
        log_in(browser, here)
        for path in ("/dashboards", "/dashboards/company/AMZN", "/dashboards/mood?panel=5"):
            browser.open(here + path)
            assert browser.value(LOADED) > 0, path
            assert browser.value("document.querySelectorAll('.panel').length") > ("=" not in path)
            assert complaints(browser) == [], path


def test_an_open_queue_says_that_something_happened(
    browser: Browser, url: str, database: Path
) -> None:
    browser.open(f"{url}/alerts?shelf=all")
    assert browser.value("document.getElementById('live').hidden")
    with Store.open(database) as store:
        stored_alert = store.alerts()[0]["id"]
    browser.value(
        f"fetch('/alerts/{stored_alert}/comment', {{method: 'POST', redirect: 'manual', body:"
        " new URLSearchParams({csrf: document.querySelector('[name=csrf]').value, text: 'x'})})"
    )
    assert browser.value(
        "new Promise(done => { const look = () => document.getElementById('live').hidden"
        " ? setTimeout(look, 50) : done(document.getElementById('live').innerText); look(); })"
    ).startswith("1 alert changed")
