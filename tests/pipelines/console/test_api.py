"""The API: pages of lists, actions, problems, the stream of events; and Schemathesis on it all."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    positive_data_acceptance,
)

from pipelines.console import api
from pipelines.console.problems import API
from tests.pipelines.console.visiting import Visitor

VisitorNamed = Callable[[str], Visitor]


@pytest.fixture(scope="module")
def key(url: str) -> Iterator[httpx.Client]:
    with Visitor(url, "carl").key("read", "triage", "close", "export", "correct", "tag") as client:
        yield client


def test_lists_go_on_after_their_cursor_to_the_end_and_hold_each_row_once(
    key: httpx.Client,
) -> None:
    for path, size in (("/messages", 7), ("/alerts?order=severe", 1), ("/alerts?order=oldest", 1)):
        whole = key.get(path, params={"limit": 500} | dict(httpx.URL(path).params)).json()["items"]
        seen, after = [], ""
        while after is not None:
            params = {"limit": size, "after": after} | dict(httpx.URL(path).params)
            page = key.get(path.partition("?")[0], params=params).json()
            seen += [row["id"] for row in page["items"]]
            after = page["next"]
        assert seen == [row["id"] for row in whole]
        assert len(set(seen)) == len(seen) > 1


def test_windows_go_on_from_where_the_page_ended(key: httpx.Client) -> None:
    params = {"key": "entity:AMZN", "start": "2014-01-01T00:00:00Z", "end": "2015-01-01T00:00:00Z"}
    whole = key.get("/windows", params=params).json()["items"]
    first = key.get("/windows", params={**params, "limit": 3}).json()
    rest = key.get("/windows", params={**params, "start": first["next"]}).json()
    assert first["items"] + rest["items"] == whole
    assert sum(window["messages"] for window in whole) == 30


def test_an_action_gives_the_alert_as_it_is_then_and_a_problem_where_it_may_not_be(
    key: httpx.Client,
) -> None:
    alert = key.get("/alerts").json()["items"][0]["id"]
    done = key.post(f"/alerts/{alert}/comment", json={"text": "by a machine"})
    assert done.status_code == 200
    events = key.get(f"/alerts/{alert}/events").json()
    assert (events[-1]["event"], events[-1]["actor"]) == ("commented", "carl")

    for path, body, status in (
        (f"/alerts/{alert}/dispose", {"reason": "boredom", "rationale": "x"}, 409),
        (f"/alerts/{alert}/snooze", {"until": "2001-01-01T00:00:00Z"}, 409),
        (f"/alerts/{alert}/assign", {"to": "nobody"}, 422),
        (f"/alerts/{alert}/comment", {"text": ""}, 422),
        (f"/alerts/{alert}/comment", {"text": "a\0b"}, 422),
        (f"/alerts/{alert}/comment", {}, 422),
        ("/alerts/nothing/comment", {"text": "x"}, 404),
    ):
        answer = key.post(path, json=body)
        assert answer.status_code == status, (path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert answer.json()["detail"]


def test_texts_are_tagged_as_the_command_tags_them(key: httpx.Client) -> None:
    texts = ["$AMZN misses estimates badly, shares plunge", "Amazon to open an office"]
    items = key.post("/tag", json={"texts": texts}).json()["items"]
    assert [item["text"] for item in items] == texts
    assert items[0]["sentiment"] == "negative"
    assert "AMZN" in items[0]["entities"]


def test_the_stream_tells_what_happens_and_goes_on_where_it_broke_off(
    key: httpx.Client,
) -> None:
    alert = key.get("/alerts").json()["items"][0]["id"]
    with key.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        key.post(f"/alerts/{alert}/comment", json={"text": "one"})
        told = event(lines)
    assert (told["event"], told["alert_id"]) == ("commented", alert)
    key.post(f"/alerts/{alert}/comment", json={"text": "two"})
    headers = {"Last-Event-ID": str(told["sequence"])}
    with key.stream("GET", "/events", headers=headers) as stream:
        assert event(stream.iter_lines())["sequence"] == told["sequence"] + 1


def event(lines: Iterator[str]) -> dict[str, object]:
    return dict(json.loads(next(line for line in lines if line.startswith("data:"))[5:]))


def test_a_made_up_cursor_is_refused(key: httpx.Client) -> None:
    for text in ("x", "e30", "W10", "bnVsbA", "é"):
        assert key.get("/alerts", params={"after": text}).status_code == 422
        assert key.get("/messages", params={"after": text}).status_code == 422


UNPROMISED = [
    # A name or cursor may look right and yet be of nobody.
    positive_data_acceptance,
    # Two routes share an address, one for each method.
    allow_header_conformance,
]


def promised() -> BaseSchema:
    """The API as it describes itself; `/events`, which never ends, is tried by hand above."""
    app = FastAPI(title="Foreshock")
    app.include_router(api.router, prefix=API)
    return schemathesis.openapi.from_dict(app.openapi()).exclude(path=f"{API}/events")


@promised().parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_what_its_schema_promises(
    case: schemathesis.Case, url: str, key: httpx.Client
) -> None:
    headers = {"Authorization": key.headers["Authorization"]}
    case.call_and_validate(base_url=url, headers=headers, excluded_checks=UNPROMISED)
