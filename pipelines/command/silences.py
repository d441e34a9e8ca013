"""`foreshock alerts silence`: for a while nobody is told of certain alerts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from alerting.silence import Silence
from connectors.store import Store
from connectors.store.schema import silences
from pipelines.alerting.silencing import approve, ask_for, end, silence_of, state
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import As, moment, user
from pipelines.command.options import DEFAULT_DATABASE, Database, Json

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
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Silence alerts: they are found and filed, and nobody is told."""
    now = datetime.now(UTC)
    with Store.existing(database) as store, store.transaction() as tx:
        silence = ask_for(
            tx,
            owner=user(actor),
            reason=reason,
            starts_at=moment(start) if start else now,
            ends_at=moment(until),
            keys=tuple(key or ()),
            kinds=tuple(kind or ()),
            now=now,
        )
    _tell(silence, json)


@app.command("approve")
def approve_silence(
    silence_id: SilenceId,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Approve a silence that somebody else has asked for."""
    _change(silence_id, approve, user(actor), database, json)


@app.command("end")
def end_silence(
    silence_id: SilenceId,
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """End a silence before its time, or refuse one that waits for approval."""
    _change(silence_id, end, user(actor), database, json)


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
        table.add_row(one.id[:12], state(one, now), *times, *(Text(inert(one)) for one in said))
    out.print(table if rows else "No silences.")


def _change(
    beginning: str,
    step: Callable[..., Silence],
    actor: str,
    database: str,
    json: bool,
) -> None:
    now = datetime.now(UTC)
    with Store.existing(database) as store:
        found = store.find(silences, beginning, "foreshock alerts silence list")["id"]
        with store.transaction() as tx:
            silence = step(tx, found, actor=actor, now=now)
    _tell(silence, json)


def _tell(silence: Silence, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(silence))
        return
    said = state(silence, datetime.now(UTC))
    out.print(Text(inert(f"Silence {silence.id[:12]} of {silence.owner}: {said}.")))
