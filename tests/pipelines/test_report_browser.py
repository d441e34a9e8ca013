"""The report in a real browser: it draws, it asks the network for nothing, and hostile text rests.

The browser is driven over a pipe by the Chrome DevTools Protocol.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.report import write_report
from tests.pipelines.report_rows import CONFIGURATION, RUN, filled, name
from tests.pipelines.test_report_page import ADDRESSES, HOSTILE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")


class Browser:
    """One page of a headless Chromium; `events` holds what it reported."""

    def __init__(self, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on descriptor 4.
        redirected = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirected, "-", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._commands, self._answers = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, page: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def seen(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self.process.wait(30)
        self._commands.close()
        self._answers.close()

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser went away"
            message += byte
        return dict(json.loads(message))


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
    browser.open(report)
    assert browser.value(DRAWN) == 4
    requests = [sent["request"]["url"] for sent in browser.seen("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert not browser.seen("Page.javascriptDialogOpening")
    assert not browser.seen("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def test_hostile_text_reaches_the_reader_as_text(browser: Browser, report: Path) -> None:
    browser.open(report)
    quoted = browser.value('[...document.querySelectorAll("blockquote")].map(q => q.innerText)')
    assert quoted[0] == HOSTILE[0]
    assert quoted[4] == HOSTILE[4]
    assert "⟦U+202E⟧" in quoted[2]
    assert browser.value('document.querySelectorAll("blockquote :not(bdi, mark)").length') == 0


def test_nothing_sticks_out_sideways_on_a_phone(browser: Browser, report: Path) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **phone)
    browser.open(report)
    browser.value(DRAWN)
    assert browser.value("document.documentElement.scrollWidth") == 390
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_charts_follow_the_readers_colours_and_print_in_the_light_ones(
    browser: Browser, report: Path
) -> None:
    ink = 'getComputedStyle(document.querySelector("#mood .xtick text")).fill'
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])
    browser.open(report)
    browser.value(DRAWN)
    dark = browser.value(ink)
    browser.value('dispatchEvent(new Event("beforeprint"))')
    printed = browser.value(ink)
    browser.value('dispatchEvent(new Event("afterprint"))')
    assert browser.value(ink) == dark
    browser.call("Emulation.setEmulatedMedia", features=[scheme | {"value": "light"}])
    browser.open(report)
    browser.value(DRAWN)
    assert browser.value(ink) == printed != dark


def test_a_click_sorts_the_companies(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.value('document.querySelectorAll(".sortable button")[1].click()')
    assert browser.value('document.querySelector("[aria-sort]").innerText') == "Messages"


def test_without_scripts_the_numbers_are_there(browser: Browser, report: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report)
    root = browser.call("DOM.getDocument", depth=1)["root"]["nodeId"]
    found = browser.call("DOM.querySelectorAll", nodeId=root, selector="noscript p")["nodeIds"]
    assert len(found) == 1
    tables = browser.call("DOM.querySelectorAll", nodeId=root, selector="details table")["nodeIds"]
    assert len(tables) == 4
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
