"""`foreshock alerts rules`: which version of the rules holds, and who has approved it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from alerting.approval import Version
from connectors.errors import StoreError
from connectors.store import Store
from pipelines.alerting.approving import (
    approve_rules,
    changes,
    propose_rules,
    refuse_rules,
    text_of,
    versions,
)
from pipelines.alerting.ruling import read_rules
from pipelines.command.alerting import doubt
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import As, user
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json
from pipelines.configuration import load_configuration

app = typer.Typer(
    help="Say which version of the rules holds; propose and approve another.", no_args_is_help=True
)

VersionId = Annotated[str, typer.Argument(help="Hash of the version, or its beginning.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the record.")]


@app.command("propose")
def propose(
    rules: Annotated[Path, typer.Argument(help="The changed rules file.")],
    reason: Reason,
    actor: As = None,
    config: Config = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Propose a changed rules file, for somebody else to approve."""
    whole, _, text = read_rules(rules, load_configuration(config).channels)
    doubt(whole)
    with Store.existing(database) as store, store.transaction() as tx:
        found = propose_rules(tx, text, actor=user(actor), reason=reason, now=datetime.now(UTC))
    _tell(found, json)


@app.command("approve")
def approve(
    version: VersionId,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Approve a version that somebody else has proposed; it holds once the file is that."""
    with Store.existing(database) as store:
        wanted = _find(store, version)
        with store.transaction() as tx:
            found = approve_rules(tx, wanted.id, actor=user(actor), now=datetime.now(UTC))
    _tell(found, json)


@app.command("refuse")
def refuse(
    version: VersionId,
    reason: Reason,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Refuse a version that was proposed."""
    with Store.existing(database) as store:
        wanted, name = _find(store, version), user(actor)
        with store.transaction() as tx:
            found = refuse_rules(tx, wanted.id, actor=name, reason=reason, now=datetime.now(UTC))
    _tell(found, json)


@app.command("list")
def list_versions(database: Database = DEFAULT_DATABASE, json: Json = False) -> None:
    """List the versions of the rules, the newest word first."""
    with Store.existing(database) as store:
        found = sorted(versions(store.rows).values(), key=lambda one: one.since, reverse=True)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    table = Table("version", "state", "since (UTC)", "proposed by", "why", "decided by")
    for one in found:
        said = (one.proposed_by or "", one.reason or "", one.decided_by or "")
        table.add_row(
            one.id,
            one.state,
            f"{one.since:%Y-%m-%d %H:%M}",
            *(Text(inert(words)) for words in said),
        )
    out.print(table if found else "No rules were ever in force.")


@app.command("show")
def show(
    version: VersionId,
    whole: Annotated[
        bool, typer.Option("--whole", help="The text, not what it changes of the one in force.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Show what a version changes of the one in force, or its whole text."""
    with Store.existing(database) as store:
        wanted = _find(store, version)
        text = text_of(store.rows, wanted.id).decode()
        changed = [] if whole else changes(store.rows, wanted.id)
    for line in changed or text.splitlines():
        out.print(Text(inert(line)), soft_wrap=True)


def _find(store: Store, beginning: str) -> Version:
    found = [one for name, one in versions(store.rows).items() if name.startswith(beginning)]
    if len(found) != 1:
        raise StoreError(
            f"{len(found)} versions of the rules begin with {beginning!r}: see them with "
            "foreshock alerts rules list"
        )
    return found[0]


def _tell(found: Version, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(found))
        return
    by = f" by {found.decided_by or found.proposed_by}"
    out.print(Text(inert(f"Version {found.id} of the rules: {found.state}{by}.")))
