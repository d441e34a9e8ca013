"""`foreshock users`, and when `foreshock console` does not even begin."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.store import Store
from pipelines.command import web
from pipelines.command.main import run
from pipelines.console.accounts import Accounts
from pipelines.console.rights import Role
from pipelines.console.server import DEMO_USER
from tests.pipelines.console.visiting import PASSWORD


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    Store.open(url).close()
    return url


@pytest.fixture
def foreshock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; gives exit code, output and errors on one line."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, " ".join(said.err.split())

    return call


def test_a_user_is_added_changed_and_shut_out(
    foreshock: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_PASSWORD", PASSWORD)
    at = ("--database", database)
    assert foreshock("users", "add", "jane", "--role", "analyst", *at)[0] == 0
    assert foreshock("users", "role", "jane", "compliance", *at)[0] == 0
    code, out, _ = foreshock("users", "list", "--json", *at)
    (row,) = json.loads(out)
    assert (code, row["name"], row["role"], row["disabled"]) == (0, "jane", "compliance", False)
    assert PASSWORD not in out
    assert "argon2" not in out
    with Store.open(database) as store:
        assert Accounts(store=store).check_password("jane", PASSWORD)
    monkeypatch.setenv("FORESHOCK_PASSWORD", "nine quiet lemurs")
    assert foreshock("users", "password", "jane", *at)[0] == 0
    with Store.open(database) as store:
        assert Accounts(store=store).check_password("jane", "nine quiet lemurs")
    assert foreshock("users", "disable", "jane", *at)[0] == 0
    assert "disabled" in foreshock("users", "list", *at)[1]
    assert foreshock("users", "enable", "jane", *at)[0] == 0


def test_what_cannot_be_is_said_in_one_sentence(
    foreshock: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--database", database)
    monkeypatch.delenv("FORESHOCK_PASSWORD", raising=False)
    for arguments, status, said in (
        (("users", "add", "jane", "--role", "analyst"), 1, "nobody to ask for the password"),
        (("users", "role", "nobody", "admin"), 1, "there is no user 'nobody'"),
        (("users", "add", "a b", "--role", "analyst", "--sso"), 1, "no name for a user"),
        (("console",), 1, "nobody may log in yet"),
        (("console", "--host", "0.0.0.0"), 2, "passwords must not go in clear"),
        (("console", "--demo", "--host", "0.0.0.0"), 2, "this machine only"),
    ):
        code, _, error = foreshock(*arguments, *at)
        assert (code, said in error) == (status, True), error


def test_without_the_demos_store_the_console_says_how_to_make_it(
    foreshock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, error = foreshock("console", "--demo")
    assert (code, out) == (1, "")
    assert "there is no demo's store at .foreshock/demo.db: run foreshock demo first" in error
    assert list(tmp_path.iterdir()) == []


def test_the_demo_makes_a_user_whose_password_is_new_each_time(
    foreshock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".foreshock").mkdir()
    Store.open(tmp_path / ".foreshock/demo.db").close()
    notices: list[str | None] = []
    monkeypatch.setattr(web, "serve", lambda running, address: notices.append(running.notice))
    passwords = []
    for _ in range(2):
        code, out, _ = foreshock("console", "--demo")
        assert code == 0
        passwords.append(out.split()[7])
    assert passwords[0] != passwords[1]
    assert notices == ["Demo: real tweets of 2014, one user, this machine only."] * 2
    with Store.open(tmp_path / ".foreshock/demo.db") as store:
        accounts = Accounts(store=store)
        assert accounts.check_password(DEMO_USER, passwords[1]).role is Role.COMPLIANCE
        assert accounts.check_password(DEMO_USER, passwords[0]) is None
