"""Log-in by an OpenID Connect provider, an honest one and one that lies."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from connectors.store import Store
from pipelines.configuration import ConfigurationError, load_configuration
from pipelines.console.accounts import Accounts
from pipelines.console.rights import Role
from tests.pipelines.console.visiting import PASSWORD, Visitor, serving
from tests.servers import oidc
from tests.servers.oidc import CLIENT, SECRET, Provider

ROLES = {"surveillance": "compliance", "desk": "analyst"}
JANE = {"sub": "42", "preferred_username": "jane", "groups": ["desk", "lunch"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Provider, str]]:
    database = f"sqlite:///{tmp_path_factory.mktemp('oidc')}/store.db"
    with Store.open(database) as store:
        Accounts(store=store).add("local", Role.ADMIN, PASSWORD, actor="test")
    with oidc.running() as provider:
        section = "FORESHOCK_CONSOLE__OIDC__"
        settings = {
            f"{section}ISSUER": provider.issuer,
            f"{section}CLIENT_ID": CLIENT,
            f"{section}CLIENT_SECRET": SECRET,
            f"{section}ROLES": json.dumps(ROLES),
        }
        with serving(database, **settings) as url:
            yield url, provider, database


@pytest.fixture
def provider(served: tuple[str, Provider, str]) -> Provider:
    found = served[1]
    found.claims, found.tampered = dict(JANE), {}
    found.algorithm, found.signing = "RS256", found.key
    return found


@pytest.fixture
def visitor(served: tuple[str, Provider, str]) -> Visitor:
    return Visitor(served[0])


def come(visitor: Visitor) -> httpx.Response:
    """As a browser does: to the provider, and back with what it gives."""
    started = visitor.get("/login/oidc?next=/mood")
    assert started.status_code == 303, started.text
    back = httpx.get(started.headers["location"])
    parts = urlsplit(back.headers["location"])
    return visitor.get(f"{parts.path}?{parts.query}")


def test_who_is_vouched_for_comes_in_with_the_role_of_his_group(
    visitor: Visitor, provider: Provider, served: tuple[str, Provider, str]
) -> None:
    assert "With your organisation" in visitor.get("/login").text
    answer = come(visitor)
    assert (answer.status_code, answer.headers["location"]) == (303, "/mood")
    assert visitor.get("/api/v1/me").json()["name"] == "jane"
    assert visitor.get("/api/v1/me").json()["role"] == "analyst"

    provider.claims["groups"] = ["surveillance"]
    provider.claims["preferred_username"] = "renamed"
    assert come(Visitor(served[0])).status_code == 303
    assert visitor.get("/api/v1/me").json() == visitor.get("/api/v1/me").json()
    with Store.open(served[2]) as store:
        people = {user.name: user for user in Accounts(store=store).users()}
    assert people["jane"].role is Role.COMPLIANCE
    assert people["jane"].subject == f"{provider.issuer} 42"
    assert not people["jane"].has_password
    assert "renamed" not in people


LIES: dict[str, Callable[[Provider], Any]] = {
    "of another issuer": lambda p: p.tampered.update(iss="https://evil.example"),
    "for another client": lambda p: p.tampered.update(aud="other"),
    "of long ago": lambda p: p.tampered.update(exp=1),
    "of another log-in": lambda p: p.tampered.update(nonce="other"),
    "without a nonce": lambda p: p.tampered.update(nonce=None),
    "not signed": lambda p: setattr(p, "algorithm", "none"),
    "signed with the public key": lambda p: p.sign_with_public_key(),
    "signed with another key": lambda p: setattr(
        p, "signing", RSAKey.generate_key(2048, {"kid": "one"})
    ),
    "of nobody": lambda p: p.claims.update(sub=None),
    "of no group that may": lambda p: p.claims.update(groups=["lunch"]),
    "of no group at all": lambda p: p.claims.pop("groups"),
    "by the name of somebody else": lambda p: p.claims.update(preferred_username="local", sub="7"),
    "by no name": lambda p: p.claims.update(preferred_username="<script>", sub="8"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_is_refused_that_is(lie: str, visitor: Visitor, provider: Provider) -> None:
    LIES[lie](provider)
    answer = come(visitor)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert visitor.get("/account").status_code == 303


def test_another_browser_cannot_bring_an_answer_back(
    visitor: Visitor, provider: Provider, served: tuple[str, Provider, str]
) -> None:
    back = httpx.get(visitor.get("/login/oidc").headers["location"]).headers["location"]
    parts = urlsplit(back)
    victim = Visitor(served[0])
    assert victim.get(f"{parts.path}?{parts.query}").status_code == 401
    assert victim.get("/account").status_code == 303
    assert visitor.get(f"{parts.path}?{parts.query}").status_code == 303
    assert visitor.get(f"{parts.path}?{parts.query}").status_code == 401


def test_a_disabled_user_stays_out_whoever_vouches(
    visitor: Visitor, provider: Provider, served: tuple[str, Provider, str]
) -> None:
    provider.claims.update(sub="9", preferred_username="gone")
    assert come(visitor).status_code == 303
    with Store.open(served[2]) as store:
        Accounts(store=store).disable("gone", actor="test")
    assert visitor.get("/account").status_code == 303
    assert come(Visitor(served[0])).status_code == 401


def test_a_provider_is_reached_by_tls_and_its_secret_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text(
        '[console.oidc]\nissuer = "https://login.example"\nclient_id = "c"\n'
        'roles = {staff = "analyst"}\n'
    )
    monkeypatch.setenv("FORESHOCK_CONSOLE__OIDC__CLIENT_SECRET", SECRET)
    settings = load_configuration(path).console
    assert SECRET not in repr(settings)
    path.write_text(path.read_text().replace("https", "http"))
    with pytest.raises(ConfigurationError, match="give an https"):
        load_configuration(path)
