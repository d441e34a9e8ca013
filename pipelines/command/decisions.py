"""`foreshock alerts ack`, `assign`, `comment`, `snooze`, `resolve`, `dispose`: people's work."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from alerting.decisions import (
    Acknowledge,
    Action,
    Assign,
    Comment,
    Dispose,
    Resolve,
    Snooze,
)
from alerting.errors import DecisionRefused
from connectors.store import Store
from connectors.store.schema import alerts
from connectors.times import TimeError, parse_time
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json
from pipelines.configuration import load_configuration
from pipelines.recording import record_decision

AlertId = Annotated[str, typer.Argument(help="Id of the alert, or its beginning.")]
As = Annotated[
    str | None,
    typer.Option("--as", help="Who decides. Default: the system's user name.", metavar="NAME"),
]


def acknowledge(
    alert_id: AlertId, actor: As = None, database: Database = DEFAULT_DATABASE, json: Json = False
) -> None:
    """Say that you have seen an alert."""
    _decide(alert_id, Acknowledge(), actor, database, json)


def assign(
    alert_id: AlertId,
    to: Annotated[str, typer.Option("--to", help="Whose work it is.", metavar="NAME")],
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Say whose work an alert is."""
    _decide(alert_id, Assign(to), actor, database, json)


def comment(
    alert_id: AlertId,
    text: Annotated[str, typer.Option("--text", help="It stays in the ledger for good.")],
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Write a remark on an alert into the ledger."""
    _decide(alert_id, Comment(text), actor, database, json)


def snooze(
    alert_id: AlertId,
    until: Annotated[str, typer.Option("--until", help="A time to come; UTC without a zone.")],
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Put an open alert off until a time to come."""
    _decide(alert_id, Snooze(moment(until)), actor, database, json)


def resolve(
    alert_id: AlertId, actor: As = None, database: Database = DEFAULT_DATABASE, json: Json = False
) -> None:
    """Say that an open alert is over; no pipeline opens it again."""
    _decide(alert_id, Resolve(), actor, database, json)


def dispose(
    alert_id: AlertId,
    reason: Annotated[str, typer.Option("--reason", help="One of [decisions] reasons.")],
    rationale: Annotated[str, typer.Option("--rationale", help="Why, for those who ask later.")],
    again: Annotated[
        bool, typer.Option("--again", help="Replace the disposition that stands.")
    ] = False,
    actor: As = None,
    config: Config = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Say what an alert was, and why; this resolves it too."""
    reasons = load_configuration(config).decisions.reasons
    _decide(alert_id, Dispose(reason, rationale, again), actor, database, json, reasons)


def moment(text: str) -> datetime:
    """The time that an option means; raises typer.BadParameter."""
    try:
        return parse_time(text).at
    except TimeError as error:
        raise typer.BadParameter(str(error)) from error


def user(name: str | None) -> str:
    """The name given, or the system's; raises DecisionRefused where there is none."""
    if name is not None:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise DecisionRefused("the system does not know your name: give it with --as") from error


def _decide(
    beginning: str,
    action: Action,
    actor: str | None,
    database: str,
    json: bool,
    reasons: tuple[str, ...] = (),
) -> None:
    with Store.existing(database) as store:
        alert_id = store.find(alerts, beginning, "foreshock alerts list")["id"]
        with store.transaction() as tx:
            row = record_decision(
                tx,
                alert_id,
                action,
                actor=user(actor),
                now=datetime.now(UTC),
                reasons=reasons,
            )
        alert = store.alert(alert_id)
    if json:
        print_json(alert)
    else:
        said = f"{row.event.capitalize()}: alert {alert_id[:12]}, by {row.actor}. "
        out.print(Text(inert(f"{said}Row {row.sequence} of the ledger.")))
