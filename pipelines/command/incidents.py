"""`foreshock alerts incidents`: alerts that one story made."""

from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.table import Table
from sqlalchemy import select

from connectors.store import Store
from connectors.store.schema import alerts, incident_members
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Database, Json, Limit
from pipelines.naming import headline


def list_incidents(
    database: Database = DEFAULT_DATABASE, limit: Limit = 100, json: Json = False
) -> None:
    """List incidents of more than one alert, newest first: alerts that one story made."""
    with Store.existing(database) as store:
        rows = store.rows(
            select(incident_members.c.incident_id, alerts)
            .join(alerts, alerts.c.id == incident_members.c.alert_id)
            .order_by(incident_members.c.incident_id, alerts.c.opened_at, alerts.c.id)
        )
    found = [list(members) for _, members in groupby(rows, key=itemgetter("incident_id"))]
    several = [members for members in found if len(members) > 1]
    several.sort(key=lambda members: members[0]["opened_at"], reverse=True)
    if json:
        print_json([_plain(members) for members in several[:limit]])
        return
    table = Table("id", "opened (UTC)", "alerts", "began with")
    for members in several[:limit]:
        first = members[0]
        opened = f"{first['opened_at']:%Y-%m-%d %H:%M}"
        row = (first["incident_id"][:12], opened, str(len(members)), inert(headline(first)))
        table.add_row(*row)
    out.print(table if several else "No incidents of more than one alert.")


def _plain(members: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("id", "key", "kind", "state", "severity", "opened_at")
    return {
        "id": members[0]["incident_id"],
        "alerts": [{name: one[name] for name in names} for one in members],
    }
