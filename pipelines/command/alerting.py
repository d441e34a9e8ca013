"""`foreshock alerts run`: the process that turns what a live job finds into alerts."""

import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from alerting.ledger import LedgerRow
from alerting.rules import Rules
from connectors.errors import StoreError
from connectors.store import Store
from connectors.store.sole import Sole, Taken
from pipelines.alerting.beside import beside
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier, delivering
from pipelines.alerting.following import Follower, tell_nobody
from pipelines.alerting.heads import HeadSender
from pipelines.alerting.process import LOCK, begin, end, work
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile, doubts
from pipelines.command.console import inert, out, remark
from pipelines.command.options import (
    DEFAULT_DATABASE,
    Config,
    Database,
    Json,
    MetricsPort,
    RulesOption,
)
from pipelines.configuration import load_configuration
from pipelines.evidence import AddEvidence
from pipelines.metrics.endpoint import endpoint
from pipelines.naming import headline
from pipelines.telemetry.logs import configure

_STANDBY_SECONDS = 2.0
_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bold red"}


def run(
    database: Database = DEFAULT_DATABASE,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when nothing is left to do, instead of waiting.")
    ] = False,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby", help="While another such process works on the store, wait and take over."
        ),
    ] = False,
    rules: RulesOption = None,
    metrics_port: MetricsPort = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Turn what a live job finds into alerts, as it comes, and tell whom it concerns; give it the
    live job's configuration.

    One such process works on a store. Stop it with Ctrl-C or SIGTERM at any time; the same command
    goes on from there.
    """
    configuration = load_configuration(config)
    configure(configuration.logs)
    routing = Routing(RulesFile(rules, configuration.channels)) if rules else None
    channels = open_channels(configuration.channels, configuration.delivery, configuration.kafka)
    stop = stop_signal()
    with (
        endpoint(configuration.metrics.own(metrics_port)) as page,
        Store.existing(database) as store,
    ):
        if page:
            remark(f"Metrics: {page}")
        sole = Sole(store, LOCK)
        if standby and not _taken_over(sole, stop, once=once):
            return
        sole.hold()
        try:
            run_id = begin(store, configuration, datetime.now(UTC))
            follower = Follower(
                store,
                configuration.digest(configuration.tag.tagger().identity),
                configuration.alerts,
                AddEvidence(configuration.tag),
                run_id,
                routing.tell if routing else tell_nobody,
            )
            watching = _Lines() if json else _Shown()
            watching.begun(follower.configuration, store.url)
            if routing:
                doubt(routing.file.router.rules)
            courier = Courier(store, channels, configuration.delivery)
            heads = HeadSender.configured(store, configuration)
            with ExitStack() as others:
                if channels:
                    others.enter_context(delivering(courier, stop))
                if heads is not None:
                    others.enter_context(beside(heads.run, stop, "heads"))
                work(
                    follower,
                    sole,
                    pause=stop.wait,
                    watching=watching,
                    routing=routing,
                    once=once,
                )
            if once and channels:
                courier.deliver_due()
            end(store, run_id, datetime.now(UTC))
            if heads is not None:
                heads.send()
        finally:
            sole.release()


def _taken_over(sole: Sole, stop: threading.Event, *, once: bool) -> bool:
    """Waits until nobody else does this work; False where it was stopped before, or where `once` is
    enough: then it is the other's."""
    said = False
    while not stop.is_set():
        try:
            sole.hold()
        except Taken:
            if not said:
                remark("Another process turns what this store holds into alerts")
                said = True
            if once or stop.wait(_STANDBY_SECONDS):
                return False
        else:
            return True
    return False


def stop_signal() -> threading.Event:
    """Set when the process is asked to end."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def doubt(rules: Rules) -> None:
    """Says what may be wrong with rules that can be used."""
    for sentence in doubts(rules):
        remark(sentence, trouble=True)


class _Shown:
    """For people."""

    def begun(self, configuration: str, url: str) -> None:
        remark(f"Following configuration {configuration} in {url}")

    def filed(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            if "alert" not in row.details:  # a confirmation is no news
                continue
            alert = row.details["alert"]
            line = Text(f"{row.occurred_at:%Y-%m-%d %H:%M}  {row.event:<9}  ")
            line.append(f"{alert['severity']:<8}", _COLOURS[alert["severity"]])
            line.append(f"  {inert(headline(alert))}")
            if not row.final:
                line.append("  (provisional)", "dim")
            out.print(line, soft_wrap=True)

    def away(self, error: StoreError, seconds: float) -> None:
        remark(f"{error} Trying again in {seconds:g} s.", trouble=True)

    def ruled(self, rules: RulesFile) -> None:
        if rules.refused:
            remark(f"{rules.refused} The version before holds on.", trouble=True)
        elif rules.waits:
            said = f"{rules.path} has changed: version {rules.waits} waits for approval"
            remark(f"{said}, and {rules.router.version} holds on.", trouble=True)
        else:
            remark(f"{rules.path} has changed: version {rules.router.version} holds.")
            doubt(rules.router.rules)


class _Lines(_Shown):
    """For machines: the ledger's rows, one JSON object a line."""

    def filed(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        if rows:
            sys.stdout.flush()
