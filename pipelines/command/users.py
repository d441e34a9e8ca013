"""`foreshock users`: who may come into the console, and what they may do there."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from connectors.store import Store
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import user as system_user
from pipelines.command.options import DEFAULT_DATABASE, Database, Json
from pipelines.console.accounts import Accounts
from pipelines.console.errors import AccountError
from pipelines.console.rights import PERMISSIONS, Role

app = typer.Typer(help="Say who may use the console, and as what.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The user's name; the ledger calls him so.")]

_PASSWORD = "FORESHOCK_PASSWORD"  # noqa: S105 - where it is looked for


@app.command("add")
def add(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What he may do.")],
    sso: Annotated[
        bool, typer.Option("--sso", help="No password: only OpenID Connect lets him in.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Add a user. The password is asked for, or taken from FORESHOCK_PASSWORD."""
    with _accounts(database) as accounts:
        accounts.add(name, role, None if sso else _password(), actor=system_user(None))
    out.print(Text(f"{name}: {role}, may {', '.join(sorted(PERMISSIONS[role]))}."))


@app.command("list")
def list_users(database: Database = DEFAULT_DATABASE, json: Json = False) -> None:
    """List the users."""
    with _accounts(database) as accounts:
        found = accounts.users()
    if json:
        names = ("name", "role", "disabled", "created_at")
        print_json([{name: getattr(one, name) for name in names} for one in found])
        return
    table = Table("name", "role", "since (UTC)", "")
    for one in found:
        table.add_row(
            Text(inert(one.name)),
            one.role,
            f"{one.created_at:%Y-%m-%d}",
            "disabled" if one.disabled else "",
        )
    out.print(table if found else "No users: foreshock users add NAME --role ROLE")


@app.command("role")
def set_role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="What he may do.")],
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Give a user another role, from his next request on."""
    with _accounts(database) as accounts:
        accounts.set_role(name, role, actor=system_user(None))
    out.print(Text(f"{name}: {role}, may {', '.join(sorted(PERMISSIONS[role]))}."))


@app.command("password")
def set_password(name: Name, database: Database = DEFAULT_DATABASE) -> None:
    """Give a user another password; his sessions end."""
    with _accounts(database) as accounts:
        accounts.set_password(name, _password(), actor=system_user(None))
    out.print(Text(f"{name} has another password."))


@app.command("disable")
def disable(name: Name, database: Database = DEFAULT_DATABASE) -> None:
    """Let a user in no more; his sessions end and his keys stop."""
    with _accounts(database) as accounts:
        accounts.disable(name, actor=system_user(None))
    out.print(Text(f"{name} is let in no more."))


@app.command("enable")
def enable(name: Name, database: Database = DEFAULT_DATABASE) -> None:
    """Let a user in again."""
    with _accounts(database) as accounts:
        accounts.enable(name, actor=system_user(None))
    out.print(Text(f"{name} is let in again."))


@contextmanager
def _accounts(database: str) -> Iterator[Accounts]:
    with Store.existing(database) as store:
        yield Accounts(store=store)


def _password() -> str:
    given = os.environ.get(_PASSWORD)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise AccountError(f"there is nobody to ask for the password: give it in {_PASSWORD}")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise AccountError("the two passwords are not the same")
    return password
