"""The report as a page: what it says, and that hostile text in it stays text."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from connectors.store import Store
from pipelines.report import content, document, figures, queries, write_report
from pipelines.report.queries import Period
from tests.pipelines.report_rows import (
    CONFIGURATION,
    PEAK,
    RUN,
    START,
    alert,
    filled,
    history,
    mood,
    name,
    observation,
)

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    '"></script><svg onload=alert(3)> $AMZN falls </bdi></blockquote>',
    "buy \u202eesaeler swen\u202c $AMZN \u2066x",
    "null \x00 bell \x07 escape \x1b[31m next \x85 $AMZN",
    "{{ 7 * 7 }} {% raw %} ${alert(4)} <!-- $AMZN --> ]]>",
    "&lt;script&gt;alert(5)&lt;/script&gt; <style>*{display:none}</style>",
)
ADDRESSES = (
    "javascript:alert(6)",
    "data:text/html,<script>alert(7)</script>",
    "https://news.example/a?b=1&c=2",
    "https://trusted.example@evil.example/",
    "//evil.example/x",
    " java\nscript:alert(8)",
)


@pytest.fixture(autouse=True)
def small_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing five megabytes in every test would take a minute; the browser gets the real one."""
    monkeypatch.setattr(document, "get_plotlyjs", lambda: "var Plotly;")


class Page(HTMLParser):
    """Elements with their attributes, all text outside scripts and styles, and the scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.cdata_elem is None:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def data(self, name: str) -> Any:
        return next(json.loads(text) for given, text in self.scripts if given.get("id") == name)


def written(store: Store, folder: Path, **given: Any) -> Page:
    path = folder / "report.html"
    settings = {"configuration": CONFIGURATION, "run": RUN, "explain": None, "display_name": name}
    write_report(store, path, **(settings | given))
    return Page(path)


def words(shown: Page) -> str:
    return " ".join(shown.text.split())


def test_the_page_tells_what_was_watched_and_what_was_found(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        said = words(written(store, tmp_path))
    assert "1 alert: negative surge on AMZN" in said
    assert "30 Jan 2014, 22:00 UTC: 5 new negative stories in 1 h against 0.8 expected." in said
    assert "by chance in about one of 3 million such windows" in said
    assert "Watched: tweets.jsonl.gz" in said
    assert "12 read = 9 stored + 2 duplicates + 1 dead letter" in said
    assert "29 Jan 2014 – 30 Jan 2014" in said
    for fact in (CONFIGURATION, "minilm 1", "cd" * 32, "SHA-256 " + "ab" * 32):
        assert fact in said


def test_the_alert_shows_its_messages_and_which_repeat_a_story(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        said = words(written(store, tmp_path))
    assert said.count("misses estimates") == 6
    assert said.count("first of its story") == 5
    assert said.count("repeat of an earlier story") == 1
    assert said.count("1 further copy") == 2
    assert "negative 90 %" in said


def test_what_the_alert_recorded_of_its_messages_comes_before_what_is_stored(
    tmp_path: Path,
) -> None:
    recorded = {
        "id": "t:100",
        "source": "wire",
        "published_at": PEAK.isoformat(),
        "title": "Amazon",
        "text": "loss widens",
        "url": None,
        "sentiment": "negative",
        "negative": 0.7,
        "neutral": 0.2,
        "positive": 0.1,
        "repeat": False,
        "repeats": 3,
        "words": [[0, 4, 1.5]],
    }
    row = alert(evidence=alert()["evidence"] | {"messages": [recorded]})

    def explain(text: str, label: str) -> Sequence[tuple[int, int, str, float]]:
        raise AssertionError("the words were weighed when the alert was raised")

    with filled(tmp_path / "db", alerts=[row]) as store:
        shown = written(store, tmp_path, explain=explain)
    assert "misses estimates" not in shown.text
    assert "3 further copies" in words(shown)
    assert shown.all("mark") == [{"class": "w4"}]


def test_the_heaviest_words_are_marked(tmp_path: Path) -> None:
    def explain(text: str, label: str) -> Sequence[tuple[int, int, str, float]]:
        assert label == "negative"
        return [(m.start(), m.end(), m[0], 1.0) for m in re.finditer("misses", text)]

    with filled(tmp_path / "db") as store:
        shown = written(store, tmp_path, explain=explain)
    assert len(shown.all("mark")) == 6


def test_hostile_text_adds_no_element_and_no_attribute(tmp_path: Path) -> None:
    with filled(tmp_path / "a") as store:
        plain = written(store, tmp_path).elements
    with filled(tmp_path / "b", texts=HOSTILE) as store:
        shown = written(store, tmp_path)
    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in plain]
    assert not [given for _, given in shown.elements if any(key.startswith("on") for key in given)]
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in shown.text
    assert "{{ 7 * 7 }}" in shown.text
    assert "buy ⟦U+202E⟧esaeler swen⟦U+202C⟧ $AMZN ⟦U+2066⟧x" in shown.text
    assert "null ⟦U+0000⟧ bell ⟦U+0007⟧ escape ⟦U+001B⟧[31m next ⟦U+0085⟧" in shown.text


def test_hostile_names_stay_text_in_headings_and_in_chart_data(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b>\u202e"
    topics = [
        observation(at, START + timedelta(minutes=at), topic=evil, entities=(evil,))
        for at in range(9)
    ]
    row = alert(key=f"entity:{evil}", state="<i>")
    with filled(tmp_path / "db", observations=topics, alerts=[row]) as store:
        shown = written(store, tmp_path)
    assert len(shown.scripts) == 4
    assert not shown.all("b")
    assert not shown.all("i")
    assert "\u202e" not in shown.text
    assert shown.data("figures")["topics"]["data"][0]["y"] == [
        "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;⟦U+202E⟧"
    ]


def test_only_web_addresses_become_links_and_they_tell_nothing_of_the_reader(
    tmp_path: Path,
) -> None:
    with filled(tmp_path / "db", urls=ADDRESSES) as store:
        shown = written(store, tmp_path)
    links = [link for link in shown.all("a") if not str(link["href"]).startswith("#")]
    assert [link["href"] for link in links] == ["https://news.example/a?b=1&c=2"]
    assert links[0]["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize(
    "url", [*ADDRESSES[:2], *ADDRESSES[3:], "", None, "http://[::1", "https://"]
)
def test_an_address_that_is_not_plainly_of_the_web_is_no_link(url: str | None) -> None:
    assert content.safe_url(url) is None


def test_the_policy_allows_the_two_scripts_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        shown = written(store, tmp_path)
    policy = next(
        str(meta["content"])
        for meta in shown.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for given, text in shown.scripts
        if not given
    }
    assert set(rules["script-src"].split()) == hashes
    assert len(hashes) == 2
    assert rules["default-src"] == "'none'"
    assert not [given for _, given in shown.elements if "src" in given]
    assert not shown.all("link")


def test_every_chart_has_a_description_and_its_numbers_as_a_table(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        shown = written(store, tmp_path)
    charts = [div for div in shown.all("div") if div.get("class") == "chart"]
    assert [chart["id"] for chart in charts] == list(shown.data("figures"))
    assert [chart["id"] for chart in charts] == ["mood", "topics", "surge-1", "earlier-1"]
    assert all(chart["aria-label"] and chart["role"] == "img" for chart in charts)
    assert len(shown.all("details")) == len(charts)


def test_the_same_time_on_earlier_days_stands_beside_the_alert(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        bars = written(store, tmp_path).data("figures")["earlier-1"]["data"][0]
    assert bars["x"] == ["29 Jan", "30 Jan"]
    assert bars["y"] == [0.0, 5.0]


def test_an_empty_store_gives_a_page_that_says_so(tmp_path: Path) -> None:
    with filled(tmp_path / "db", observations=[], alerts=[]) as store:
        shown = written(store, tmp_path, run={})
    assert "Nothing to report" in shown.text
    assert not [div for div in shown.all("div") if div.get("class") == "chart"]


def test_a_quiet_history_says_that_there_was_no_alert(tmp_path: Path) -> None:
    with filled(tmp_path / "db", alerts=[]) as store:
        said = words(written(store, tmp_path))
    assert "No alert" in said
    assert "Nothing watched rose beyond what is normal for it" in said


def test_a_count_that_does_not_add_up_is_said_aloud(tmp_path: Path) -> None:
    run: Mapping[str, Any] = {"counters": RUN["counters"] | {"read": 15}}
    with filled(tmp_path / "db") as store:
        said = words(written(store, tmp_path, run=run))
    assert "The count does not add up" in said
    assert "+3 unaccounted for" in said


def test_beyond_fifty_the_weaker_alerts_are_only_listed(tmp_path: Path) -> None:
    many = [
        alert(id=f"a{at}", peak_surprise=float(at), severity="critical" if at == 1 else "low")
        for at in range(53)
    ]
    with filled(tmp_path / "db", alerts=many) as store:
        shown = written(store, tmp_path)
    assert len(shown.all("article")) == content.ALERTS_IN_FULL
    assert "53 alerts, the strongest: negative surge on AMZN" in shown.text
    listed = [link for link in shown.all("a") if str(link["href"]).startswith("#alert-")]
    assert len(listed) == content.ALERTS_IN_FULL
    assert {"#alert-2", "#alert-53"} <= {link["href"] for link in listed}


def test_a_long_message_is_cut_and_the_page_says_by_how_much(tmp_path: Path) -> None:
    with filled(tmp_path / "db", texts=["x" * 101_200]) as store:
        shown = written(store, tmp_path)
    assert "… 100,000 more characters" in shown.text


def test_other_configurations_are_left_out(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        assert "Nothing to report" in written(store, tmp_path, configuration="other").text


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(text: str, label: str) -> Sequence[tuple[int, int, str, float]]:
        raise RuntimeError("the model is gone")

    with filled(tmp_path / "db") as store, pytest.raises(RuntimeError):
        written(store, tmp_path, explain=fail)
    assert path.read_text() == "old"
    assert sorted(found.name for found in tmp_path.glob("*.html*")) == ["report.html"]


def test_the_same_store_gives_the_same_bytes(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        written(store, tmp_path)
        first = (tmp_path / "report.html").read_bytes()
        written(store, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first


def test_buckets_sum_the_hours_and_weeks_begin_on_monday(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store, store.engine.connect() as connection:
        days = queries.buckets(connection, CONFIGURATION, ["overall"], 86400)["overall"]
        weeks = queries.buckets(connection, CONFIGURATION, ["overall", "none"], 7 * 86400)
    assert [(day.start, day.messages, day.new_negative) for day in days] == [
        (START, 12, 0),
        (START + timedelta(days=1), 18, 5),
    ]
    assert [week.start.weekday() for week in weeks["overall"]] == [0]
    assert weeks["none"] == []


def test_the_worst_hour_of_each_company_comes_once(tmp_path: Path) -> None:
    seen = [*history(), observation(500, START, entities=("AAPL",))]
    with filled(tmp_path / "db", observations=seen) as store, store.engine.connect() as connection:
        rows = queries.worst_hours(connection, CONFIGURATION, "entity:", 5)
        span = queries.period(connection, CONFIGURATION)
    assert rows == [
        ("entity:AMZN", PEAK - timedelta(hours=1), 5, 6),
        ("entity:AAPL", START, 1, 1),
    ]
    assert span == Period(START, START + timedelta(hours=47))


def test_evidence_comes_in_the_order_asked_for(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store, store.engine.connect() as connection:
        found = queries.evidence(connection, ["t:105", "gone", "t:101"])
    assert [(one.id, one.repeat, one.copies) for one in found] == [
        ("t:105", True, 1),
        ("t:101", False, 0),
    ]


def test_the_dark_colours_reach_the_page(tmp_path: Path) -> None:
    with filled(tmp_path / "db") as store:
        shown = written(store, tmp_path)
    assert shown.data("palette")[figures.LIGHT["negative"]] == figures.DARK["negative"]


def test_topics_that_the_model_could_not_judge_make_no_chart(tmp_path: Path) -> None:
    seen = [
        observation(at, START + timedelta(minutes=at), mood=mood("neutral", abstained=True))
        for at in range(9)
    ]
    with filled(tmp_path / "db", observations=seen, alerts=[]) as store:
        shown = written(store, tmp_path)
    assert list(shown.data("figures")) == ["mood"]


def test_shares_of_a_company_leave_out_what_the_model_could_not_judge(tmp_path: Path) -> None:
    seen = [
        observation(at, START + timedelta(hours=at), mood=mood(abstained=at % 2 == 0))
        for at in range(8)
    ]
    with filled(tmp_path / "db", observations=seen, alerts=[]) as store:
        assert words(written(store, tmp_path)).count("100 %") >= 2
