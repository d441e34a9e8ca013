"""`foreshock alerts deliver` and `deliveries`: who is told, who was, and what could not be sent."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from alerting.delivery import DEAD, DELIVERED
from connectors.errors import StoreError
from connectors.store import Store
from connectors.store.schema import deliveries
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Attempt, Courier, revive
from pipelines.command.alerting import stop_signal
from pipelines.command.console import err, inert, out, print_json
from pipelines.command.decisions import As, user
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json, Limit
from pipelines.configuration import load_configuration
from pipelines.telemetry.logs import configure

_COLOURS = {DELIVERED: "green", DEAD: "bold red"}


def deliver(
    database: Database = DEFAULT_DATABASE,
    once: Annotated[
        bool, typer.Option("--once", help="Try what is due now, and stop; 1 if any of it failed.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Send what waits in the outbox, through the channels of the configuration.

    Several may run side by side. Stop it with Ctrl-C or SIGTERM at any time.
    """
    configuration = load_configuration(config)
    configure(configuration.logs)
    channels = open_channels(configuration.channels, configuration.delivery, configuration.kafka)
    with Store.existing(database) as store:
        courier = Courier(store, channels, configuration.delivery, heard=_line if json else _shown)
        if once:
            if any(attempt.error for attempt in courier.deliver_due()):
                sys.exit(1)
            return
        err.print(f"Delivering from {store.url} by: {', '.join(channels) or 'no channel'}")
        courier.run(stop_signal())


def list_deliveries(
    database: Database = DEFAULT_DATABASE,
    dead: Annotated[
        bool, typer.Option("--dead", help="Only those that were given up or refused.")
    ] = False,
    retry: Annotated[
        list[str] | None,
        typer.Option("--retry", help="Try this dead one again (id or its beginning); repeatable."),
    ] = None,
    actor: As = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List who was told what, newest first, or have dead ones tried again."""
    with Store.existing(database) as store:
        for beginning in retry or ():
            _retry(store, beginning, user(actor))
        if retry:
            return
        columns = [column for column in deliveries.c if column.name != "payload"]
        query = select(*columns).order_by(deliveries.c.recorded_at.desc(), deliveries.c.id)
        if dead:
            query = query.where(deliveries.c.state == DEAD)
        rows = store.rows(query.limit(limit))
    if json:
        print_json(rows)
    else:
        _show(rows)


def _retry(store: Store, beginning: str, actor: str) -> None:
    found = store.find(deliveries, beginning, "foreshock alerts deliveries --dead")
    with store.transaction() as tx:
        if not revive(tx, found["id"], actor=actor, now=datetime.now(UTC)):
            raise StoreError(
                f"the delivery {found['id'][:12]} is {found['state']}, not dead: there is nothing "
                "to try again"
            )
    out.print(Text(f"{found['id'][:12]} is due again, under the same idempotency key."))


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("id", "asked for (UTC)", "channel", "recipient", "state", "attempts", "error")
    for row in rows:
        table.add_row(
            row["id"][:12],
            f"{row['recorded_at']:%Y-%m-%d %H:%M}",
            row["channel"],
            Text(inert(row["recipient"])),
            Text(row["state"], _COLOURS.get(row["state"], "")),
            str(row["attempts"]),
            Text(inert(row["last_error"] or "")),
        )
    out.print(table if rows else "No deliveries.")


def _line(attempt: Attempt) -> None:
    sys.stdout.write(msgspec.json.encode(attempt).decode() + "\n")
    sys.stdout.flush()


def _shown(attempt: Attempt) -> None:
    line = Text(f"{attempt.delivery_id[:12]}  {inert(attempt.channel)} to ")
    line.append(inert(attempt.recipient))
    line.append(f"  {attempt.state}", _COLOURS.get(attempt.state, "yellow"))
    if attempt.error:
        line.append(f"  {inert(attempt.error)}")
    out.print(line, soft_wrap=True)
