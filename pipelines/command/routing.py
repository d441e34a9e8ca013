"""`foreshock alerts test-route`: what the rules would do with an alert."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from alerting.alert import Alert
from alerting.routing import Filed, Outcome, Router, RoutingState
from alerting.spike import identity
from connectors.store import Store
from connectors.store.schema import alerts
from pipelines.alerting.routing import alert_of
from pipelines.alerting.ruling import read_rules, sectors
from pipelines.alerting.silencing import holding
from pipelines.command.alerting import doubt
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import moment
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json
from pipelines.configuration import load_configuration

Kind = Literal["negative_surge", "amplification", "volume", "slow_drift"]
Severity = Literal["low", "medium", "high", "critical"]


def try_route(
    rules: Annotated[
        Path, typer.Option("--rules", envvar="FORESHOCK_RULES", help="The rules to try.")
    ],
    alert_id: Annotated[
        str | None, typer.Argument(help="Id of an alert, or its beginning; or describe one.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", help="entity:SYMBOL, topic:NAME or overall.")
    ] = "overall",
    kind: Annotated[Kind, typer.Option("--kind")] = "negative_surge",
    severity: Annotated[Severity, typer.Option("--severity")] = "high",
    observed: Annotated[float, typer.Option("--observed", help="What was counted.")] = 20.0,
    surprise: Annotated[
        float, typer.Option("--surprise", help="-log10 of the false alarms a week at this size.")
    ] = 6.0,
    at: Annotated[
        str | None, typer.Option("--at", help="When it opens, by the clock. Default: now.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say who would be told of an alert, by which channel and when, and what would be held back.

    Nothing is sent or written. Limits are tried as if nothing had been told before.
    """
    channels = load_configuration(config).channels
    whole, version, _ = read_rules(rules, channels)
    doubt(whole)
    now = moment(at) if at else datetime.now(UTC)
    router = Router(whole, version, sectors())
    silences = []
    if alert_id is None:
        alert = _described(key, kind, severity, observed, surprise, now)
    else:
        with Store.existing(database) as store:
            alert = alert_of(store.find(alerts, alert_id, "foreshock alerts list"))
            with store.transaction() as tx:
                silences = holding(tx, now)
    filed = Filed(
        event_id=alert.id,
        event="opened",
        occurred_at=alert.opened_at,
        alert=msgspec.structs.replace(alert, state="open", resolved_at=None),
    )
    outcome = router.route(RoutingState(), filed, silences, now)
    if json:
        print_json(_said(router, outcome, now))
    else:
        _show(_said(router, outcome, now))


def _described(
    key: str, kind: str, severity: str, observed: float, surprise: float, now: datetime
) -> Alert:
    name = identity("test", key, kind)
    return Alert(
        id=name,
        key=key,
        kind=kind,
        state="open",
        severity=severity,
        opened_at=now,
        updated_at=now,
        resolved_at=None,
        peak_surprise=surprise,
        peak_observed=observed,
        expected_at_peak=0.0,
        first_spike_id=name,
        peak_spike_id=name,
        last_spike_id=name,
        spikes=1,
        evidence={},
        configuration="",
        model="",
    )


def _said(router: Router, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """What the record would say, with the ladder of each route that somebody is told on."""
    (entry,) = outcome.entries
    details = entry.details
    routes = dict.fromkeys(one["route"] for one in (*details["told"], *details["held"]))
    ladder = []
    for name in routes:
        route, due = router.rules.routes[name], now
        for number, step in enumerate(route.escalate, start=1):
            due += timedelta(minutes=step.minutes)
            ladder += [
                {
                    "route": name,
                    "step": number,
                    "person": target.person,
                    "channel": target.channel,
                    "at": due.isoformat(),
                }
                for target in router.rules.targets(route, step.to)
            ]
    return {
        "rules": router.version,
        "met": details["met"],
        "told": details["told"],
        "held": details["held"],
        "unless_acknowledged": ladder,
    }


def _show(said: dict[str, Any]) -> None:
    if not said["met"]:
        out.print(f"No rule of version {said['rules']} is met: nobody would be told.")
        return
    out.print(Text(inert(f"Rules met (version {said['rules']}): {', '.join(said['met'])}")))
    table = Table("who", "by", "route", "when")
    for one in said["told"]:
        table.add_row(inert(one["person"]), inert(one["channel"]), inert(one["route"]), "at once")
    for one in said["held"]:
        until = f"held until {_time(one['until'])}" if "until" in one else "never"
        who, by = one.get("person", "everybody"), one.get("channel", "")
        table.add_row(inert(who), inert(by), inert(one["route"]), f"{until}: {one['why']}")
    for one in said["unless_acknowledged"]:
        when = f"{_time(one['at'])} unless acknowledged"
        table.add_row(inert(one["person"]), inert(one["channel"]), inert(one["route"]), when)
    out.print(table)


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
