"""`foreshock alerts`: what the compliance officer sees and does."""

from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from connectors.store import Store
from connectors.store.schema import alerts
from pipelines.command import (
    alerting,
    audit,
    decisions,
    deliveries,
    export,
    incidents,
    routing,
    rules,
    silences,
)
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Database, Json, Limit
from pipelines.naming import display_name, headline

app = typer.Typer(help="List, show, decide on, prove and export alerts.", no_args_is_help=True)
app.command("incidents")(incidents.list_incidents)
app.add_typer(silences.app, name="silence")
app.add_typer(rules.app, name="rules")
app.command("run")(alerting.run)
app.command("test-route")(routing.try_route)
app.command("ack")(decisions.acknowledge)
app.command("assign")(decisions.assign)
app.command("comment")(decisions.comment)
app.command("snooze")(decisions.snooze)
app.command("resolve")(decisions.resolve)
app.command("dispose")(decisions.dispose)
app.command("verify")(audit.verify)
app.command("head")(audit.take_head)
app.command("keygen")(audit.keygen)
app.command("erase")(audit.erase_message)
app.command("export")(export.export)
app.command("deliver")(deliveries.deliver)
app.command("deliveries")(deliveries.list_deliveries)

_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bold red"}


@app.command("list")
def list_alerts(
    database: Database = DEFAULT_DATABASE,
    state: Annotated[
        Literal["open", "resolved"] | None, typer.Option("--state", help="Only these.")
    ] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List the alerts, newest first."""
    with Store.existing(database) as store:
        rows = store.alerts(state=state, limit=limit)
    if json:
        print_json(rows)
        return
    table = Table("id", "opened (UTC)", "state", "severity", "what")
    for row in rows:
        table.add_row(
            row["id"][:12],
            f"{row['opened_at']:%Y-%m-%d %H:%M}",
            row["state"],
            Text(row["severity"], style=_COLOURS[row["severity"]]),
            headline(row),
        )
    out.print(table if rows else "No alerts.")


@app.command("show")
def show_alert(
    alert_id: Annotated[str, typer.Argument(help="Id of the alert, or its beginning.")],
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Show one alert with its evidence and its history."""
    with Store.existing(database) as store:
        row = store.find(alerts, alert_id, "foreshock alerts list")
        events = store.events(row["id"])
    if json:
        print_json({**row, "events": events})
    else:
        _show(row, events)


def _event(event: dict[str, Any]) -> str:
    details = event["details"]
    if "set" not in details and "text" not in details:
        return str(event["event"])
    words = [str(value) for value in (details.get("set") or {}).values()]
    said = details.get("text", "; ".join(words))
    return inert(f"{event['event']} by {event['actor']}: {said}")


def _show(row: dict[str, Any], events: list[dict[str, Any]]) -> None:
    evidence = row["evidence"]
    out.print(Text(headline(row), style="bold"))
    out.print(f"{display_name(row['key'])}: {row['severity']}, {row['state']}, id {row['id']}")
    for event in events:
        out.print(Text(f"  {event['occurred_at']:%Y-%m-%d %H:%M} UTC  {_event(event)}"))
    out.print(
        f"Negative share {evidence['negative_share']:.0%}, "
        f"usually {evidence['expected_negative_share']:.0%}"
    )
    for message in evidence["messages"]:
        line = Text(f"  {message['published_at'][:16]}  {message['negative']:.2f}  ")
        out.print(line.append(inert(message["text"])))
