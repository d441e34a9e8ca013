"""No request without rights changes or shows anything: every route, every role."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant

from connectors.store import Store
from pipelines.configuration import Configuration
from pipelines.console.access import SAFE_METHODS, Action, Api, Page
from pipelines.console.app import build
from pipelines.console.problems import API
from pipelines.console.rights import KEY_SCOPES, PERMISSIONS, Permission, Role
from pipelines.console.server import Address, console
from tests.pipelines.console.visiting import EVERYBODY, Visitor

OPEN = {
    f"{API}/openapi.json",
    "/login",
    "/login/oidc",
    "/login/oidc/callback",
    "/static/{name}",
    "/health",
}
"""What strangers may see: nothing of the store."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    path = tmp_path_factory.mktemp("rights") / "store.db"
    with Store.open(path) as store:
        yield build(console(store, Configuration(), Address(host="127.0.0.1", port=1)))


def routes(app: FastAPI) -> list[Any]:
    """All of them: path, methods and what they depend on."""
    found: list[Any] = []
    for route in app.routes:
        contexts = getattr(route, "effective_route_contexts", None)
        found += list(contexts()) if contexts else [route]
    return found


def guards(route: Any) -> list[Any]:
    """What asks who it is before the route does anything."""
    return list(_guards(getattr(route, "dependant", None)))


def _guards(dependant: Dependant | None) -> Iterator[Any]:
    for inner in dependant.dependencies if dependant else ():
        if isinstance(inner.call, Page | Api):
            yield inner.call
        yield from _guards(inner)


def test_every_route_names_the_right_that_it_asks_for(app: FastAPI) -> None:
    found = routes(app)
    assert len(found) > 40
    for route in found:
        asked = guards(route)
        if route.path in OPEN:
            assert asked == []
            continue
        assert len(asked) == 1, route.path
        assert isinstance(asked[0], Api) == route.path.startswith(API), route.path
        if not route.path.startswith(API) and not route.methods <= SAFE_METHODS:
            assert isinstance(asked[0], Action), f"{route.path} takes forms without a token"


def test_the_table_of_roles_is_as_it_was_decided() -> None:
    assert {role: "".join(sorted(p[0] for p in may)) for role, may in PERMISSIONS.items()} == {
        Role.ANALYST: "crstt",
        Role.COMPLIANCE: "accerrsttv",
        Role.ENGINEER: "crrtv",
        Role.ADMIN: "ruv",
    }
    assert not {Permission.USERS, Permission.APPROVE} & KEY_SCOPES
    deciding = {Permission.TRIAGE, Permission.CLOSE}
    assert all(not (deciding & may) for may in PERMISSIONS.values() if Permission.USERS in may)


def test_a_stranger_sees_and_changes_nothing(app: FastAPI, url: str) -> None:
    with httpx.Client(base_url=url) as stranger:
        for method, path in addresses(app):
            answer = stranger.request(method, path)
            if path.startswith(API):
                assert answer.status_code == 401, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"
            else:
                assert answer.status_code == 303, (method, path)
                assert answer.headers["location"].startswith("/login")
            assert "Boeing" not in answer.text


def test_each_role_gets_what_the_table_says_and_nothing_else(
    app: FastAPI, visitor: Callable[[str], Visitor]
) -> None:
    for name, role in EVERYBODY.items():
        somebody = visitor(name)
        token = somebody.csrf
        for route in routes(app):
            asked = guards(route)
            if not asked or isinstance(asked[0], Api) or asked[0].permission is None:
                continue
            may = asked[0].permission in PERMISSIONS[role]
            for method, path in filled_in(route):
                fields = {} if method in SAFE_METHODS else {"data": {"csrf": token}}
                answer = somebody.http.request(method, path, **fields)
                assert (answer.status_code == 403) != may, (name, method, path, answer.text)


def test_a_key_does_what_its_scopes_say_and_its_owner_still_may(
    app: FastAPI, visitor: Callable[[str], Visitor]
) -> None:
    key = visitor("carl").key("read", "triage")
    for route in routes(app):
        asked = guards(route)
        if not asked or not isinstance(asked[0], Api) or route.path.endswith("/events"):
            continue
        may = asked[0].permission in {Permission.READ, Permission.TRIAGE}
        for method, path in filled_in(route):
            answer = key.request(method, path.removeprefix(API))
            assert (answer.status_code == 403) != may, (method, path, answer.text)


def test_a_session_reads_the_api_and_changes_nothing_by_it(
    visitor: Callable[[str], Visitor],
) -> None:
    carl = visitor("carl")
    assert carl.get(f"{API}/alerts").status_code == 200
    (alert, *_) = carl.get(f"{API}/alerts").json()["items"]
    answer = carl.http.post(f"{API}/alerts/{alert['id']}/resolve")
    assert answer.status_code == 401
    assert carl.get(f"{API}/alerts/{alert['id']}").json()["closed_at"] is None


def addresses(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in routes(app):
        if route.path not in OPEN:
            yield from filled_in(route)


def filled_in(route: Any) -> Iterator[tuple[str, str]]:
    """The route's methods and its address, of things that are not there."""
    path = route.path
    for name in (
        "alert_id",
        "message_id:path",
        "name:path",
        "key_id",
        "name",
        "silence_id",
        "version",
        "delivery_id",
    ):
        path = path.replace(f"{{{name}}}", "nothing")
    for method in sorted(route.methods):
        yield method, path
