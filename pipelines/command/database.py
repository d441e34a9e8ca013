"""`foreshock database`: the store as its administrator sees it."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from connectors.errors import StoreError
from connectors.parsing import author_hash
from connectors.store import Store
from connectors.store.inspection import Inspection, inspect_store
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import As, user
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json, author_key
from pipelines.configuration import load_configuration
from pipelines.erasure import erase_author
from pipelines.retention import prune

app = typer.Typer(help="Upgrade, check, prune and clean the store.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(
    database: Database = DEFAULT_DATABASE,
    roles: Annotated[
        bool,
        typer.Option("--roles", help="PostgreSQL: make the roles of least privilege as well."),
    ] = False,
    json: Json = False,
) -> None:
    """Create the tables, or bring them to the schema of this version.

    Run it as the owner of the tables, before the first job and after each installation.
    """
    done = Store.upgrade(database)
    if roles:
        with Store.open(database) as store:
            store.make_roles()
    if json:
        print_json(done._asdict())
    elif done.before == done.after:
        out.print(f"The schema is {done.after} already.")
    else:
        out.print(f"Schema {done.before or '(none)'} -> {done.after}.")


@app.command("check")
def check(database: Database = DEFAULT_DATABASE, json: Json = False) -> None:
    """Say what the store holds, and whether it is guarded as it should be (exit code 1 if not)."""
    with Store.existing(database) as store:
        found = inspect_store(store)
    if json:
        print_json({**msgspec.to_builtins(found), "ok": found.sound})
    else:
        _show(found)
    if not found.sound:
        sys.exit(1)


@app.command("prune")
def prune_store(
    database: Database = DEFAULT_DATABASE, config: Config = None, json: Json = False
) -> None:
    """Remove messages and windows that are older than `[retention]` says, and make room ahead.

    Alerts, the ledger, and the messages that alerts show stay. Run it once a month or more often,
    as the owner of the tables.
    """
    settings = load_configuration(config).retention
    with Store.existing(database) as store:
        store.make_room()
        done = prune(store, settings, datetime.now(UTC))
    if json:
        print_json(msgspec.to_builtins(done))
        return
    _tell("messages", done.messages, done.messages_before)
    _tell("windows", done.windows, done.windows_before)


def _tell(what: str, rows: int, before: datetime | None) -> None:
    if before is None:
        out.print(f"All {what} are kept: [retention] sets no {what}_months.", markup=False)
    else:
        out.print(f"Removed {rows:,} {what} of before {before:%Y-%m}.")


@app.command("erase-author")
def erase_all_of(
    author: Annotated[
        str, typer.Argument(help="The name as the source gives it, or with --hash what is kept.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="On what ground; it stays for good.")],
    hashed: Annotated[
        bool, typer.Option("--hash", help="AUTHOR is an author_hash of the store.")
    ] = False,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Erase all that an author wrote for good, as `alerts erase` does for one message.

    Names are kept as a hash only: give the key by FORESHOCK_AUTHOR_KEY, or the hash itself.
    """
    with Store.existing(database) as store:
        with store.transaction() as tx:
            erased = erase_author(
                tx,
                author if hashed else _hash(author),
                reason=reason,
                actor=user(actor),
                now=datetime.now(UTC),
            )
        store.flush()
    out.print(
        f"Erased {len(erased.message_ids):,} messages; {len(erased.filed):,} times an alert showed "
        "one of them."
    )


def _hash(author: str) -> str:
    key = author_key()
    if key is None:
        raise StoreError(
            "authors are kept as a hash under a key, and none is given: set FORESHOCK_AUTHOR_KEY "
            "to the one that the messages were read with, or give the hash itself with --hash"
        )
    return author_hash(author, key)


def _show(found: Inspection) -> None:
    out.print(Text(f"{found.url}: schema {found.schema}, {found.size / 1e6:,.1f} MB"))
    table = Table("table", "rows")
    table.columns[1].justify = "right"
    for name, rows in found.rows.items():
        table.add_row(name, f"{rows:,}")
    out.print(table)
    for finding in found.findings:
        mark = Text("ok    ", style="green") if finding.ok else Text("FAILED", style="bold red")
        detail = f"  {finding.check:<12} {inert(finding.detail)}"
        out.print(mark.append(detail, style="not bold default"), soft_wrap=True)
