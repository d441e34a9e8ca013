"""Silences, rules and dead deliveries on the pages: who may do what, and that it is on record."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from alerting.rules import version_of
from connectors.store import Store
from connectors.store.schema import deliveries, silences
from pipelines.alerting.approving import versions
from pipelines.audit import prove
from tests.pipelines.console.visiting import CHANGED, RULES, Visitor, at_work, populate, serving
from tests.pipelines.ledgers import stored

VERSION = version_of(CHANGED.encode())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('pages')}/store.db"
    with Store.open(url) as store:
        stored(store)
        populate(store)
        at_work(store)
    return url


@pytest.fixture(scope="module")
def url(database: str) -> Iterator[str]:
    with serving(database) as address:
        yield address


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with Store.open(database) as store:
        yield store
        assert prove(store).holds


def said(store: Store, subject: str) -> list[tuple[str, str]]:
    return [(r["event"], r["actor"]) for r in store.events() if r["subject"] == subject]


def newest(store: Store) -> str:
    query = select(silences.c.id).order_by(silences.c.recorded_at.desc()).limit(1)
    return str(store.rows(query)[0]["id"])


def test_a_silence_is_asked_for_by_one_and_approved_by_another(url: str, store: Store) -> None:
    carl, cleo = Visitor(url, "carl"), Visitor(url, "cleo")
    fields = {"keys": "entity:AMZN\n topic:Legal | Regulation", "kind": ["volume"], "hours": "8"}
    made = carl.post("/silences", {**fields, "reason": "<b>known</b>"})
    assert made.status_code == 303
    name = newest(store)
    (row,) = store.rows(select(silences).where(silences.c.id == name))
    assert row["keys"] == ["entity:AMZN", "topic:Legal | Regulation"]
    assert (row["owner"], row["approved_at"]) == ("carl", None)
    page = carl.get("/silences").text
    assert "waits for approval" in page
    assert "&lt;b&gt;known&lt;/b&gt;" in page
    assert f"/silences/{name}/approve" not in page
    own = carl.post(f"/silences/{name}/approve")
    assert (own.status_code, "somebody else has to approve it" in own.text) == (409, True)
    assert cleo.post(f"/silences/{name}/approve").status_code == 303
    assert "holds" in cleo.get("/silences").text
    assert cleo.post(f"/silences/{name}/end").status_code == 303
    assert said(store, f"silence:{name}") == [
        ("silenced", "carl"),
        ("silence-approved", "cleo"),
        ("silence-ended", "cleo"),
    ]


def test_an_analyst_asks_and_refuses_and_approves_nothing(url: str, store: Store) -> None:
    ann = Visitor(url, "ann")
    assert ann.post("/silences", {"kind": "volume", "hours": "1", "reason": "x"}).status_code == 303
    name = newest(store)
    assert ann.post(f"/silences/{name}/approve").status_code == 403
    assert ann.post(f"/silences/{name}/end").status_code == 303
    assert said(store, f"silence:{name}")[-1] == ("silence-refused", "ann")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"hours": "8", "reason": "x"}, 409),
        ({"hours": "8", "reason": " ", "kind": "volume"}, 409),
        ({"hours": "8", "reason": "x", "keys": "AMZN"}, 409),
        ({"hours": "8", "reason": "x", "kind": "noise"}, 409),
        ({"hours": "9999", "reason": "x", "kind": "volume"}, 422),
        ({"hours": "8", "reason": "x\0", "kind": "volume"}, 422),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    url: str, store: Store, fields: dict[str, str], status: int
) -> None:
    before = store.rows(select(silences))
    assert Visitor(url, "carl").post("/silences", fields).status_code == status
    assert store.rows(select(silences)) == before


def test_a_version_of_the_rules_is_read_and_approved(url: str, store: Store) -> None:
    carl, ann = Visitor(url, "carl"), Visitor(url, "ann")
    page = ann.get("/rules").text
    assert version_of(RULES.encode()) in page
    assert "proposed" in page
    assert "<script>alert(3)" not in page
    page = ann.get(f"/rules/{VERSION}").text
    assert "+# &amp;lt;i&amp;gt; ⟦U+202E⟧" in page
    assert "/approve" not in page
    assert ann.post(f"/rules/{VERSION}/approve").status_code == 403
    assert carl.post(f"/rules/{VERSION}/approve").status_code == 303
    assert versions(store.rows)[VERSION].state == "approved"
    again = carl.post(f"/rules/{VERSION}/refuse", {"reason": "x"})
    assert (again.status_code, "was approved by carl already" in again.text) == (409, True)
    assert said(store, f"rules:{VERSION}") == [
        ("rules-proposed", "jane"),
        ("rules-approved", "carl"),
    ]
    assert carl.get("/rules/nothing").status_code == 404


def test_a_dead_delivery_is_tried_again(url: str, store: Store) -> None:
    emil, ann = Visitor(url, "emil"), Visitor(url, "ann")
    page = emil.get("/deliveries").text
    assert "&lt;b&gt;gone&lt;/b&gt;" in page
    assert "/deliveries/dead/retry" not in ann.get("/deliveries").text
    assert ann.post("/deliveries/dead/retry").status_code == 403
    assert emil.post("/deliveries/dead/retry").status_code == 303
    assert emil.post("/deliveries/dead/retry").status_code == 404
    (row,) = store.rows(select(deliveries))
    assert (row["state"], row["attempts"]) == ("pending", 0)
    last = store.events()[-1]
    assert (last["event"], last["actor"]) == ("requeued", "emil")


def test_where_nothing_is_there_the_pages_say_so(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/empty.db"
    with Store.open(database) as store:
        populate(store)
    with serving(database) as address:
        carl = Visitor(address, "carl")
        assert "No rules were ever in force" in carl.get("/rules").text
        assert "None." in carl.get("/silences").text
        assert "None." in carl.get("/deliveries").text


def test_log_ins_that_work_fail_and_are_not_looked_at_are_in_the_ledger(
    url: str, store: Store
) -> None:
    known = len(store.events())
    stranger = Visitor(url)
    for _ in range(5):
        assert stranger.log_in("ann", "a wrong password").status_code == 401
    for _ in range(3):
        assert stranger.log_in("ann", "a wrong password").status_code == 429
    assert stranger.log_in("a password typed here", "x").status_code == 401
    assert stranger.log_in("emil").status_code == 303
    assert stranger.post("/logout").status_code == 303
    rows = store.events()[known:]
    assert [(row["event"], row["subject"], row["actor"]) for row in rows] == [
        *[("log-in-refused", "user:ann", "foreshock")] * 5,
        ("log-in-throttled", "user:ann", "foreshock"),
        ("log-in-refused", "user", "foreshock"),
        ("logged-in", "user:emil", "emil"),
        ("logged-out", "user:emil", "emil"),
    ]
    assert all(row["details"] == {"address": "127.0.0.1"} for row in rows[:-1])
    page = Visitor(url, "ada").get("/users").text
    assert "log-in-throttled" in page


def test_a_correction_is_in_the_ledger_and_so_is_what_admins_do(url: str, store: Store) -> None:
    cleo, ada = Visitor(url, "cleo"), Visitor(url, "ada")
    fields = {"message_id": "other", "head": "sentiment", "label": "neutral"}
    assert cleo.post("/corrections", fields).status_code == 303
    row = store.events()[-1]
    assert (row["event"], row["actor"], row["details"]["label"]) == ("corrected", "cleo", "neutral")
    assert row["details"]["found"] == "negative"
    assert ada.post("/users/emil/role", {"role": "analyst"}).status_code == 303
    assert ada.post("/users/emil/role", {"role": "engineer"}).status_code == 303
    assert said(store, "user:emil")[-2:] == [("user-role-set", "ada")] * 2
