"""The evaluation as a page: what it says, in a browser too, and that hostile text stays text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.calibration import CalibrationBin
from models.drift import Drift
from models.evaluation import (
    ClassFigures,
    Comparison,
    Difference,
    Evaluation,
    Figures,
    WorstError,
)
from models.tags import SENTIMENTS, TOPICS, ModelIdentity
from pipelines.evaluation_page import charts, write_evaluation
from pipelines.report import document
from tests.pipelines.test_report_browser import DRAWN
from tests.pipelines.test_report_page import HOSTILE, Page, words
from tests.servers.chromium import CHROMIUM, Browser


def evaluation(**given: Any) -> Evaluation:
    """What 100 texts might come to."""
    labels = given.get("labels", SENTIMENTS)
    whole = {
        "n": 100,
        "accuracy": 0.86,
        "accuracy_interval": (0.79, 0.92),
        "macro_f1": 0.8,
        "macro_f1_interval": (0.71, 0.88),
        "ece": 0.025,
    }
    shares = {label: 1 / len(labels) for label in labels}
    empty = [CalibrationBin(i / 15, (i + 1) / 15, 0, None, None) for i in range(14)]
    settings: dict[str, Any] = whole | {
        "head": "sentiment",
        "labels": labels,
        "failed": 0,
        "abstained": 3,
        "per_class": {label: ClassFigures(0.9, 0.8, 0.85, 20) for label in labels},
        "confusion": tuple(tuple(range(len(labels))) for _ in labels),
        "calibration": (*empty, CalibrationBin(14 / 15, 1.0, 100, 0.97, 0.86)),
        "worst": tuple(
            WorstError(i, text, labels[0], labels[1], 0.99 - i / 100)
            for i, text in enumerate(HOSTILE, 1)
        ),
        "slices": {"short": Figures(**whole), "source: <b>x</b>": Figures(**whole)},
        "predicted_shares": shares,
        "soft_shares": shares,
        "estimated_shares": shares,
        "drift": Drift(
            head="sentiment", n=100, shares=shares, psi=0.31, p=1e-9, labels_moved=True,
            confidence=0.9, expected_confidence=None, confidence_moved=False,
            abstention=0.03, expected_abstention=None, abstention_moved=False,
        ),
        "model": ModelIdentity("minilm", "1", "ab" * 32, "openvino/int8"),
    }  # fmt: skip
    return Evaluation(**(settings | given))


def compared() -> Evaluation:
    other = evaluation(
        accuracy=0.82, model=ModelIdentity("<b>rival</b>", "2", "cd" * 32, "openvino/int8")
    )
    return evaluation(
        comparison=Comparison(
            accuracy=Difference(0.04, (0.01, 0.07), 0.012),
            macro_f1=Difference(0.0, (-0.02, 0.02), 1.0),
            only_model_right=9,
            only_other_right=5,
            mcnemar_p=0.4240,
            other=other,
        )
    )


def written(shown: Evaluation, folder: Path) -> Page:
    path = folder / "evaluation.html"
    marked = [[(0, 3, 1.0)] for _ in shown.worst]
    write_evaluation(path, shown, words=marked, source="<i>texts</i>.csv")
    return Page(path)


@pytest.fixture
def small_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "get_plotlyjs", lambda: "var Plotly;")


@pytest.mark.usefixtures("small_plotly")
def test_the_page_tells_the_figures(tmp_path: Path) -> None:
    said = words(written(evaluation(), tmp_path))
    assert "Sentiment: 86.0 % right" in said
    assert "0.860 (0.790 – 0.920)" in said
    assert "short (at most 5 words)" in said
    assert "another one than that of the training data" in said
    assert "10097.0 %86.0 %" in said
    assert "minilm 1" in said
    assert "Against" not in said


@pytest.mark.usefixtures("small_plotly")
def test_the_page_compares_two_models(tmp_path: Path) -> None:
    said = words(written(compared(), tmp_path))
    assert "Against <b>rival</b> 2" in said
    assert "Accuracy0.8600.820+0.040 (+0.010 to +0.070)0.012" in said
    assert "9 are this model’s and 5 the other’s (McNemar’s exact test: p 0.42)" in said


@pytest.mark.usefixtures("small_plotly")
def test_what_is_not_known_is_said_or_left_out(tmp_path: Path) -> None:
    bare = evaluation(
        worst=(),
        slices={},
        estimated_shares=None,
        drift=None,
        failed=2,
        head="topic",
        labels=TOPICS,
    )
    shown = written(bare, tmp_path)
    said = words(shown)
    assert "every text was given its label" in said
    assert "does not say what it was trained on" in said
    assert "Could not be tagged2" in said
    assert "Kinds of texts" not in said
    assert {chart["id"] for chart in shown.all("div") if chart.get("class") == "chart"} == {
        "confusion",
        "calibration",
    }


@pytest.mark.usefixtures("small_plotly")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    shown = written(compared(), tmp_path)
    assert not shown.all("img")
    assert not shown.all("i")
    assert not shown.all("b")
    assert len(shown.scripts) == 4
    said = words(shown)
    assert HOSTILE[0] in said
    assert "⟦U+202E⟧" in said
    assert "<i>texts</i>.csv" in said


def test_many_labels_are_numbered_and_escaped() -> None:
    few = charts.confusion(SENTIMENTS, [[1, 2, 3]] * 3)["data"][0]
    many = charts.confusion(TOPICS, [[1] * 20] * 20)["data"][0]
    assert few["x"] == list(SENTIMENTS)
    assert many["x"][13] == "14"
    assert many["y"][13] == "14  M&amp;A | Investments"
    assert few["z"][0] == [1 / 6, 2 / 6, 3 / 6]


def test_empty_bins_are_not_drawn() -> None:
    drawn = charts.calibration(evaluation().calibration)["data"][0]
    assert (drawn["y"], drawn["customdata"]) == ([0.86], [[100, 0.97]])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
def test_the_browser_draws_it_without_network_errors_or_sideways_scrolling(
    browser: Browser, tmp_path: Path
) -> None:
    topics = msgspec.structs.replace(
        compared(), labels=TOPICS, confusion=tuple((1,) * 20 for _ in TOPICS),
        **{name: dict.fromkeys(TOPICS, 0.05) for name in
           ("predicted_shares", "soft_shares", "estimated_shares")},
        per_class=dict.fromkeys(TOPICS, ClassFigures(0.9, 0.8, 0.85, 20)), comparison=None,
    )  # fmt: skip
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **phone)
    for shown in (compared(), topics):
        written(shown, tmp_path)
        page = tmp_path / "evaluation.html"
        browser.open(page.as_uri())
        assert browser.value(DRAWN) == 3
        assert browser.value("document.documentElement.scrollWidth") == 390
        requests = [sent["request"]["url"] for sent in browser.seen("Network.requestWillBeSent")]
        assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
        assert not browser.seen(
            "Page.javascriptDialogOpening",
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
        )
        quoted = browser.value('document.querySelector("blockquote").innerText')
        assert quoted == HOSTILE[0]
