"""`foreshock alerts silence`: for a while nobody is told of certain alerts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from alerting.silence import Silence, approve, end, propose
from connectors.store import Store
from connectors.store.schema import silences
from pipelines.alerting.silencing import record, silence_of
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import As, moment, user
from pipelines.command.options import DEFAULT_DATABASE, Config, Database, Json
from pipelines.configuration import load_configuration

app = typer.Typer(help="Tell nobody of certain alerts for a while.", no_args_is_help=True)

SilenceId = Annotated[str, typer.Argument(help="Id of the silence, or its beginning.")]


@app.command("add")
def add(
    until: Annotated[str, typer.Option("--until", help="Its end; UTC without a zone.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the record.")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="entity:SYMBOL, topic:NAME or overall; repeatable."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only alerts of this kind; repeatable.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Its beginning. Default: now.")
    ] = None,
    actor: As = None,
    config: Config = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Silence alerts: they are found and filed, and nobody is told."""
    now, owner = datetime.now(UTC), user(actor)
    silence = propose(
        owner=owner,
        reason=reason,
        starts_at=moment(start) if start else now,
        ends_at=moment(until),
        keys=tuple(key or ()),
        kinds=tuple(kind or ()),
        now=now,
        second_person=load_configuration(config).decisions.approve_silences,
    )
    with Store.existing(database) as store, store.transaction() as tx:
        record(tx, "silenced", silence, actor=owner, now=now)
    _tell(silence, json)


@app.command("approve")
def approve_silence(
    silence_id: SilenceId,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Approve a silence that somebody else has asked for."""
    _change(silence_id, "silence-approved", approve, user(actor), database, json)


@app.command("end")
def end_silence(
    silence_id: SilenceId,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """End a silence before its time."""
    _change(silence_id, "silence-ended", end, user(actor), database, json)


@app.command("list")
def list_silences(database: Database = DEFAULT_DATABASE, json: Json = False) -> None:
    """List the silences, newest first."""
    with Store.existing(database) as store:
        rows = store.rows(select(silences).order_by(silences.c.recorded_at.desc(), silences.c.id))
    if json:
        print_json(rows)
        return
    now = datetime.now(UTC)
    table = Table("id", "state", "from (UTC)", "until (UTC)", "owner", "what", "why")
    for row in rows:
        one = silence_of(row)
        what = " ".join((*one.keys, *one.kinds))
        times = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in (one.starts_at, one.ends_at))
        said = (one.owner, what, one.reason)
        table.add_row(one.id[:12], _state(one, now), *times, *(Text(inert(one)) for one in said))
    out.print(table if rows else "No silences.")


def _change(
    beginning: str,
    event: str,
    step: Callable[..., Silence],
    actor: str,
    database: str,
    json: bool,
) -> None:
    now = datetime.now(UTC)
    with Store.existing(database) as store:
        found = store.find(silences, beginning, "foreshock alerts silence list")["id"]
        with store.transaction() as tx:
            (row,) = tx.rows(select(silences).where(silences.c.id == found))
            silence = step(silence_of(row), actor=actor, now=now)
            record(tx, event, silence, actor=actor, now=now)
    _tell(silence, json)


def _tell(silence: Silence, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(silence))
        return
    state = _state(silence, datetime.now(UTC))
    out.print(Text(inert(f"Silence {silence.id[:12]} of {silence.owner}: {state}.")))


def _state(silence: Silence, now: datetime) -> str:
    if now >= silence.ends_at:
        return "ended"
    if silence.approved_at is None:
        return "waits for approval"
    return "holds" if silence.starts_at <= now else "approved"
