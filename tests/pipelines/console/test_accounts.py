"""Users, passwords, sessions and keys, on both kinds of store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from connectors.store import Store
from connectors.store.schema import api_keys, sessions, users
from pipelines.audit import prove
from pipelines.console.accounts import Accounts, csrf_token
from pipelines.console.errors import AccountError
from pipelines.console.rights import Permission, Role
from tests.pipelines.console.visiting import PASSWORD


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(store_url: str, clock: Clock) -> Iterator[Accounts]:
    with Store.open(store_url) as store:
        found = Accounts(store=store, clock=clock)
        found.add("jane", Role.COMPLIANCE, PASSWORD, actor="root")
        yield found


def test_a_password_opens_for_its_user_alone(accounts: Accounts) -> None:
    accounts.add("sso", Role.ANALYST, None, actor="root")
    assert accounts.check_password("jane", PASSWORD).role is Role.COMPLIANCE
    for name, password in (
        ("jane", PASSWORD + " "),
        ("jane", ""),
        ("nobody", PASSWORD),
        ("sso", ""),
        ("sso", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("jane", "x" * 5_000),
    ):
        assert accounts.check_password(name, password) is None


def test_no_table_holds_what_opens(accounts: Accounts) -> None:
    token = accounts.open_session(accounts.user("jane"), address="here")
    key = accounts.add_key(accounts.user("jane"), "k", [Permission.READ], None)
    rows = [accounts.store.rows(select(table)) for table in (users, sessions, api_keys)]
    held = repr(rows)
    assert "$argon2id$" in held
    for secret in (PASSWORD, token, key, key.split("_", 2)[2], csrf_token(token)):
        assert secret not in held


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("", PASSWORD, "no name"),
        ("a b", PASSWORD, "no name"),
        ("<script>", PASSWORD, "no name"),
        ("x" * 65, PASSWORD, "no name"),
        ("foreshock", PASSWORD, "no name"),
        ("jane", PASSWORD, "already"),
        ("bob", "too short", "characters"),
        ("bob", "x" * 257, "characters"),
        ("bob", "a" * 20, "easy"),
        ("bob", "I am Bob the builder", "easy"),
    ],
)
def test_bad_names_and_passwords_are_refused(
    accounts: Accounts, name: str, password: str, reason: str
) -> None:
    with pytest.raises(AccountError, match=reason):
        accounts.add(name, Role.ANALYST, password, actor="root")


def test_a_session_lasts_while_it_is_used_and_no_longer_than_it_may(
    accounts: Accounts, clock: Clock
) -> None:
    token = accounts.open_session(accounts.user("jane"), address="here")
    for _ in range(14):
        assert accounts.session(token) is not None
        clock.now += timedelta(minutes=55)
    assert accounts.session(token) is None

    token = accounts.open_session(accounts.user("jane"), address="here")
    clock.now += timedelta(minutes=61)
    assert accounts.session(token) is None
    assert accounts.session("") is None


def test_a_session_ends_by_logging_out_by_another_password_and_by_disabling(
    accounts: Accounts,
) -> None:
    jane = accounts.user("jane")
    token, other = (accounts.open_session(jane, address="here") for _ in range(2))
    accounts.end_session(token)
    assert accounts.session(token) is None
    assert accounts.session(other) is not None
    accounts.set_password("jane", "nine quiet lemurs", actor="jane")
    assert accounts.session(other) is None
    token = accounts.open_session(jane, address="here")
    accounts.disable("jane", actor="root")
    assert accounts.session(token) is None
    assert accounts.check_password("jane", "nine quiet lemurs") is None
    accounts.enable("jane", actor="root")
    assert accounts.session(token) is None
    assert accounts.check_password("jane", "nine quiet lemurs") is not None


def test_another_role_counts_from_the_next_request(accounts: Accounts) -> None:
    token = accounts.open_session(accounts.user("jane"), address="here")
    key = accounts.add_key(accounts.user("jane"), "k", [Permission.READ, Permission.CLOSE], None)
    accounts.set_role("jane", Role.ANALYST, actor="root")
    assert Permission.CLOSE not in accounts.session(token).permissions
    assert accounts.key(key)[1] == {Permission.READ}


def test_a_key_stops_when_revoked_when_it_ends_and_when_its_owner_is_disabled(
    accounts: Accounts, clock: Clock
) -> None:
    jane = accounts.user("jane")
    short = accounts.add_key(jane, "a", [Permission.READ], clock.now + timedelta(days=1))
    long = accounts.add_key(jane, "b", [Permission.READ], None)
    assert accounts.key(short)
    clock.now += timedelta(days=2)
    assert accounts.key(short) is None
    assert accounts.key(long)
    assert accounts.key(long[:-1]) is None
    assert accounts.key(long + "x") is None
    accounts.revoke_key(jane, long.split("_")[1])
    assert accounts.key(long) is None
    third = accounts.add_key(jane, "c", [Permission.READ], None)
    accounts.disable("jane", actor="root")
    assert accounts.key(third) is None


def test_nobody_revokes_the_key_of_another(accounts: Accounts) -> None:
    accounts.add("bob", Role.COMPLIANCE, PASSWORD, actor="root")
    key = accounts.add_key(accounts.user("jane"), "k", [Permission.READ], None)
    with pytest.raises(AccountError, match="no such key"):
        accounts.revoke_key(accounts.user("bob"), key.split("_")[1])
    assert accounts.key(key)


def test_a_key_may_no_more_than_its_owner(accounts: Accounts) -> None:
    accounts.add("ada", Role.ADMIN, PASSWORD, actor="root")
    for wanted in ([Permission.CLOSE], [Permission.USERS], []):
        with pytest.raises(AccountError, match="some of the scopes"):
            accounts.add_key(accounts.user("ada"), "k", wanted, None)


def test_what_happens_to_accounts_is_kept_with_who_did_it(accounts: Accounts, clock: Clock) -> None:
    for change in (
        lambda: accounts.set_role("jane", Role.ANALYST, actor="ada"),
        lambda: accounts.refused("jane", address="10.0.0.1"),
        lambda: accounts.refused("not a name", address="10.0.0.1"),
        lambda: accounts.disable("jane", actor="ada"),
        lambda: accounts.throttled("jane", address="10.0.0.1"),
    ):
        clock.now += timedelta(seconds=1)
        change()
    said = [(row["event"], row["actor"], row["subject"]) for row in accounts.events(10)]
    assert said == [
        ("log-in-throttled", "foreshock", "user:jane"),
        ("user-disabled", "ada", "user:jane"),
        ("log-in-refused", "foreshock", "user"),
        ("log-in-refused", "foreshock", "user:jane"),
        ("user-role-set", "ada", "user:jane"),
        ("user-added", "root", "user:jane"),
    ]
    assert "not a name" not in repr(accounts.store.events())
    assert prove(accounts.store).holds
