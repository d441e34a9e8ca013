"""What people see and do on the pages, over HTTP."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.store import Store
from connectors.store.schema import messages
from models.training.corrections import read_corrections
from pipelines.audit import prove
from pipelines.configuration import Configuration
from pipelines.console import deciding
from pipelines.console.access import Caller, Refused
from pipelines.console.server import Address, console
from pipelines.dashboards.building import boards
from pipelines.export import pdf
from tests.pipelines.console.visiting import Visitor, populate, serving
from tests.pipelines.ledgers import CLOCK, stored

VisitorNamed = Callable[[str], Visitor]


@pytest.fixture
def fresh(tmp_path: Path) -> str:
    """A store of its own, for those who count."""
    url = f"sqlite:///{tmp_path}/fresh.db"
    with Store.open(url) as store:
        stored(store)
        populate(store)
    return url


def alerts(visitor: Visitor, shelf: str = "all") -> list[str]:
    page = visitor.get(f"/alerts?shelf={shelf}").text
    return list(dict.fromkeys(re.findall(r'<th scope="row"><a href="/alerts/(\w+)"', page)))


def panels(visitor: Visitor, path: str) -> list[str]:
    """Where the panels of a dashboard stand."""
    found = re.findall(r'href="(/dashboards[^"]+&amp;panel=\d+)">Show<', visitor.get(path).text)
    return [address.replace("&amp;", "&") for address in found]


def test_a_case_from_the_queue_to_the_regulator(fresh: str) -> None:
    with serving(fresh) as url:
        carl = Visitor(url, "carl")
        both = alerts(carl, "to-do")
        assert len(both) == 2
        alert, other = both
        for step, fields in (
            ("acknowledge", {}),
            ("assign", {"to": "cleo"}),
            ("comment", {"text": "Asked the desk; <b>they</b> knew."}),
            ("dispose", {"reason": "false-alarm", "rationale": "old news"}),
        ):
            assert carl.post(f"/alerts/{alert}/{step}", fields).status_code == 303, step
        page = carl.get(f"/alerts/{alert}").text
        assert "Acknowledged by <bdi>carl</bdi>" in page
        assert "Asked the desk; &lt;b&gt;they&lt;/b&gt; knew." in page
        assert alerts(carl, "to-do") == [other]
        assert other not in carl.get(f"/alerts/{alert}").text
        with Store.open(fresh) as store, store.transaction() as tx:
            tx.upsert(
                "incident_members",
                [
                    {"alert_id": one, "incident_id": alert, "opened_at": CLOCK, "stories": []}
                    for one in both
                ],
            )
        assert f'href="/alerts/{other}"' in carl.get(f"/alerts/{alert}").text
        assert alerts(Visitor(url, "cleo"), "mine") == [alert]
        again = carl.post(f"/alerts/{alert}/acknowledge")
        assert again.status_code == 409
        assert "was acknowledged by carl" in again.text

        for form, kind in (("jsonl", "application/jsonl"), ("html", "text/html")):
            file = carl.post(f"/alerts/{alert}/export", {"form": form})
            assert file.headers["content-type"].startswith(kind)
            assert file.headers["content-disposition"].startswith("attachment")
            assert "old news" in file.text

        assert carl.post("/ledger/verify").headers["location"] == "/ledger"
        while "is being read" in (page := carl.get("/ledger").text):
            pass
        assert "It holds" in page
    with Store.open(fresh) as store:
        assert prove(store).holds
        said = [(row["event"], row["actor"]) for row in store.events(alert)]
    assert said[-6:] == [
        ("acknowledged", "carl"),
        ("assigned", "carl"),
        ("commented", "carl"),
        ("disposed", "carl"),
        ("exported", "carl"),
        ("exported", "carl"),
    ]


@pytest.mark.skipif(pdf.browser() is None, reason="needs chromium on the path")
def test_an_alert_is_printed(visitor: VisitorNamed) -> None:
    carl = visitor("carl")
    alert = alerts(carl)[0]
    assert "PDF, to print" in carl.get(f"/alerts/{alert}").text
    file = carl.post(f"/alerts/{alert}/export", {"form": "pdf"})
    assert file.headers["content-type"] == "application/pdf"
    assert file.content.startswith(b"%PDF-")


def test_the_alerts_of_some_days_are_exported_at_once(fresh: str) -> None:
    with Store.open(fresh) as store:
        rows = store.alerts()
    days = {
        "first": f"{rows[0]['opened_at']:%Y-%m-%d}",
        "last": f"{rows[-1]['opened_at']:%Y-%m-%d}",
    }
    with serving(fresh) as url:
        ann, carl = Visitor(url, "ann"), Visitor(url, "carl")
        assert "/ledger/export" not in ann.get("/ledger").text
        assert ann.post("/ledger/export", days).status_code == 403
        for wrong, said in (
            ({}, "Give the first and the last day."),
            ({"first": days["last"], "last": "1999-01-01"}, "lies before the first"),
            ({"first": "1999-01-01", "last": "1999-12-31"}, "No alert opened in that time."),
        ):
            answer = carl.post("/ledger/export", wrong)
            assert (answer.status_code, said in answer.text) == (422, True)
        file = carl.post("/ledger/export", {**days, "form": "jsonl"})
        assert file.headers["content-disposition"].endswith(f'-{days["last"]}.jsonl"')
        said = [json.loads(line) for line in file.text.splitlines()]
        assert sorted(said[0]["alerts"]) == sorted(row["id"] for row in rows)
        assert [row["event"] for row in said if row["record"] == "event"][-2:] == ["exported"] * 2
        if pdf.browser() is not None:
            assert "PDF, to print" in carl.get("/ledger").text
            file = carl.post("/ledger/export", {**days, "form": "pdf"})
            assert file.headers["content-type"] == "application/pdf"
            assert file.content.startswith(b"%PDF-")
    with Store.open(fresh) as store:
        assert prove(store).holds
        last = store.events(rows[0]["id"])[-1]
        assert (last["event"], last["actor"]) == ("exported", "carl")


def test_more_than_can_be_waited_for_is_refused_with_the_command_for_it(
    fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MOST_EXPORTED", 1)
    with Store.open(fresh) as store:
        here = console(store, Configuration(), Address(host="127.0.0.1", port=1))
        (carl,) = (user for user in here.accounts.users() if user.name == "carl")
        caller = Caller(user=carl, permissions=carl.permissions)
        known = store.events()
        with pytest.raises(
            Refused, match=r"More than 1 alerts .* --from 2000-01-01 --to 2050-01-01 --format html"
        ) as refused:
            deciding.export_range(here, caller, date(2000, 1, 1), date(2049, 12, 31), "html")
        assert refused.value.status == 422
        assert store.events() == known


def test_a_history_that_was_changed_behind_the_ledgers_back_says_so(fresh: str) -> None:
    with Store.open(fresh) as store:
        alert = store.alerts()[0]["id"]
        with store.engine.begin() as connection:
            for name in ("update", "delete", "replace"):
                connection.exec_driver_sql(f"DROP TRIGGER alert_events_no_{name}")
            connection.exec_driver_sql(
                "UPDATE alert_events SET actor = 'nobody' WHERE alert_id = ?", (alert,)
            )
    with serving(fresh) as url:
        carl = Visitor(url, "carl")
        assert "not what was written" in carl.get(f"/alerts/{alert}").text
        carl.post("/ledger/verify")
        while "is being read" in (page := carl.get("/ledger").text):
            pass
        assert "It is broken: alert_events" in page


def test_every_page_answers_on_postgresql(postgresql_url: str) -> None:
    Store.upgrade(postgresql_url)
    with Store.open(postgresql_url) as store:
        stored(store)
        populate(store)
    with serving(postgresql_url) as url:
        carl = Visitor(url, "carl")
        first = alerts(carl)[0]
        assert carl.post(f"/alerts/{first}/acknowledge").status_code == 303
        names = ("mood", "company", "topic", "alerts", "health")
        for path in (
            *(f"/alerts?shelf={s}" for s in ("to-do", "open", "unacknowledged", "mine", "all")),
            *(f"/alerts?order={order}" for order in ("severe", "newest", "oldest")),
            f"/alerts/{first}",
            "/mood",
            "/dashboards",
            *(f"/dashboards/{name}" for name in names),
            *(panel for name in names for panel in panels(carl, f"/dashboards/{name}")),
            "/messages?q=Boeing&company=A&sentiment=negative",
            "/ledger",
            "/account",
        ):
            assert carl.get(path).status_code == 200, path
        assert Visitor(url, "ada").get("/users").status_code == 200


def test_company_and_topic_show_what_was_counted_for_them(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    page = ann.get("/companies/AMZN").text
    assert "Messages, newest first" in page
    assert page.count('<li class="message">') == 20
    older = re.search(r'href="(/companies/AMZN\?[^"]+after=[^"#]+)', page)
    assert older
    further = ann.get(older[1].replace("&amp;", "&")).text
    assert 0 < further.count('<li class="message">') <= 20
    assert ann.get("/topics/Earnings").status_code == 200
    assert ann.get("/companies/NOBODY").status_code == 404
    assert ann.get("/topics/Fed%20%7C%20Central%20Banks").status_code == 404


def test_dashboards_are_drawn_as_grafana_would(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    for board in boards(None, CLOCK):
        name = board["uid"].removeprefix("foreshock-")
        page = ann.get(f"/dashboards/{name}").text
        ours = [panel for panel in board["panels"] if "rawSql" in panel["targets"][0]]
        for panel, address in zip(ours, panels(ann, f"/dashboards/{name}"), strict=True):
            assert f"<h3>{panel['title']}</h3>" in page
            alone = ann.get(address).text
            assert alone.count('<figure class="panel') == 1
            assert f"<h3>{panel['title']}</h3>" in alone
            assert ('id="figures">{}<' in alone) == ('class="chart"' not in alone)
    assert 'href="/dashboards/company/AMZN"' in ann.get("/companies/AMZN").text
    page = ann.get("/dashboards/company/AMZN?days=1").text
    assert "Company: <bdi>AMZN</bdi>" in page
    assert 'href="/dashboards/company/AMZN?days=7"' in page


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "company/NOBODY",
        "company/x'%20OR%201=1--",
        "mood/AMZN",
        "topic/AMZN",
        "mood?panel=99",
        "health?panel=1",
    ],
)
def test_a_dashboard_of_what_is_not_there_is_not_found(visitor: VisitorNamed, path: str) -> None:
    assert visitor("ann").get(f"/dashboards/{path}").status_code == 404


def test_a_search_finds_words_whatever_their_case_and_all_of_them(visitor: VisitorNamed) -> None:
    ann = visitor("ann")

    def found(query: str) -> int:
        return ann.get(f"/messages?{query}").text.count('<li class="message">')

    assert found("q=BOEING") == found("q=boeing") > 0
    assert found("q=boeing+müde") > 0
    assert found("q=boeing+nowhere") == 0
    assert found("q=100%25") == found("q=_____") == 0
    assert found("company=amzn&sentiment=positive") == 0
    assert found("company=amzn&sentiment=negative") == 6
    assert found("topic=Dividend") == 0


def test_a_correction_is_kept_and_reaches_the_training(
    visitor: VisitorNamed, tmp_path: Path
) -> None:
    ann = visitor("ann")
    fields = {"message_id": "t:3", "head": "sentiment", "label": "positive"}
    assert ann.post("/corrections", fields).status_code == 303
    page = ann.get("/messages/t:3").text
    assert "sentiment is positive, not neutral" in page
    file = tmp_path / "corrections.csv"
    file.write_bytes(ann.get("/corrections.csv").content)
    assert ("t:3", "positive", "sentiment") in {
        (one.message_id, one.label, one.head) for one in read_corrections(file)
    }
    for wrong in ({"label": "bullish"}, {"head": "mood"}, {"message_id": "nobody"}):
        assert ann.post("/corrections", {**fields, **wrong}).status_code in (404, 422)


def test_no_cell_of_a_csv_is_a_formula(visitor: VisitorNamed, database: str) -> None:
    evil = '=HYPERLINK("http://evil.example")'
    with Store.open(database) as store, store.transaction() as tx:
        row = store.rows(select(messages).limit(1))[0]
        tx.upsert("messages", [{**row, "id": evil}])
        tx.upsert(
            "corrections",
            [
                {
                    "id": "evil",
                    "message_id": evil,
                    "head": "sentiment",
                    "label": "negative",
                    "found": "neutral",
                    "corrected_by": "ann",
                    "corrected_at": row["published_at"],
                }
            ],
        )
    rows = csv.reader(io.StringIO(visitor("ann").get("/corrections.csv").text))
    cells = [cell for row in rows for cell in row]
    assert "'" + evil in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_an_admin_makes_and_unmakes_users(url: str, visitor: VisitorNamed) -> None:
    ada, new = visitor("ada"), Visitor(url)
    fields = {"name": "new", "role": "analyst", "password": "five brave mules"}
    assert ada.post("/users", fields).status_code == 303
    assert new.log_in("new", "five brave mules").status_code == 303
    assert new.get("/users").status_code == 403
    assert ada.post("/users/new/role", {"role": "admin"}).status_code == 303
    assert new.get("/users").status_code == 200
    assert ada.post("/users/new/disable").status_code == 303
    assert new.get("/users").status_code == 303
    assert ada.post("/users/ada/role", {"role": "compliance"}).status_code == 422
    assert ada.post("/users/ada/disable").status_code == 422
    assert "five brave mules" not in ada.get("/users").text


def test_without_javascript_the_numbers_of_the_charts_can_be_read(visitor: VisitorNamed) -> None:
    page = visitor("ann").get("/mood").text
    assert "<noscript>" in page
    assert '<details class="numbers">' in page
