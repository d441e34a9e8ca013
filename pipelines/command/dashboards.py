"""`foreshock dashboards`: Grafana's dashboards, written, checked, drawn and pushed."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from connectors.store import Store
from pipelines.command.console import err, inert, out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Database, Json
from pipelines.manifest import VERSION

if TYPE_CHECKING:  # Grafana's builders are slow to import, and every verb imports this file
    from pipelines.dashboards.building import Span
    from pipelines.dashboards.checking import Checked

app = typer.Typer(help="Grafana's dashboards: build, check, draw, push.", no_args_is_help=True)

_Shown = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="FORESHOCK_DATABASE",
        help="Store whose time the dashboards show at first, if it holds history.",
    ),
]
_Variables = Annotated[
    list[str] | None,
    typer.Option("--variable", help="NAME=VALUE of a variable. Default: its first value."),
]
_PICTURES = Path("dashboards.html")
_TOKEN = "FORESHOCK_GRAFANA_TOKEN"  # noqa: S105  # the name of the variable
_COLOURS = {"ok": "green", "empty": "yellow", "skipped": "cyan", "failed": "bold red"}


@app.command("build")
def write(
    target: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    database: _Shown = None,
    seen_at: Annotated[
        str | None,
        typer.Option("--seen-at", help="Where Grafana finds the folder, if elsewhere."),
    ] = None,
) -> None:
    """Write the folder that Grafana provisions itself from: dashboards, sources, alert rules."""
    from pipelines.dashboards import building

    try:
        files = building.write(target, _history(database), seen_at=seen_at)
    except OSError as error:
        _fail(f"{target} cannot be written: {error.strerror}")
    for path in files:
        out.print(Text(str(path)))


@app.command("check")
def ask(
    database: Database = DEFAULT_DATABASE,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            envvar="FORESHOCK_PROMETHEUS_URL",
            help="Address of a Prometheus; its panels are skipped without.",
        ),
    ] = None,
    variable: _Variables = None,
    json: Json = False,
) -> None:
    """Ask every panel's query over the time that the store holds; exit 1 where one fails."""
    from pipelines.dashboards import building
    from pipelines.dashboards.checking import check

    given = _given(variable)
    with Store.existing(database) as store:
        shown = building.history(store)
        done = [
            one
            for board in building.boards(shown, datetime.now(UTC))
            for one in check(board, store, shown, prometheus=prometheus, given=given)
        ]
    if json:
        print_json([msgspec.to_builtins(one) for one in done])
    else:
        _print(done)
    if any(one.status == "failed" for one in done):
        sys.exit(1)


@app.command("pictures")
def draw(
    database: Database = DEFAULT_DATABASE,
    target: Annotated[Path, typer.Option("--out", help="The page to write.")] = _PICTURES,
    variable: _Variables = None,
) -> None:
    """Draw what the dashboards show as one HTML page, for where there is no Grafana."""
    from pipelines.dashboards import building, pictures

    given = _given(variable)
    now = datetime.now(UTC)
    with Store.existing(database) as store:
        held = building.history(store)
        if held is None:
            _fail(f"{store.url} holds no message: fill it with a replay")
        shown = held if building.is_history(held, now) else (now - building.STREAM, now)
        boards = building.boards(held, now)
        try:
            pictures.write(target, boards, store, shown, given)
        except OSError as error:
            _fail(f"{target} cannot be written: {error.strerror}")
    out.print(f"Dashboards: {target.resolve()}", soft_wrap=True)


@app.command("push")
def send(
    grafana: Annotated[
        str,
        typer.Option("--grafana", envvar="FORESHOCK_GRAFANA_URL", help="Address of the Grafana."),
    ],
    database: _Shown = None,
    mark_alerts: Annotated[
        bool, typer.Option("--annotations", help="Mark the store's alerts on every dashboard.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; show the difference.")
    ] = False,
    json: Json = False,
) -> None:
    """Put the dashboards into a Grafana; its service account's token is FORESHOCK_GRAFANA_TOKEN."""
    from pipelines.dashboards import building
    from pipelines.dashboards.pushing import Grafana, GrafanaError

    if mark_alerts and database is None:
        raise typer.BadParameter("--annotations needs --database")
    boards = building.boards(_history(database), datetime.now(UTC))
    try:
        there = Grafana(grafana, os.environ.get(_TOKEN))
        if not dry_run:
            there.make_folder()
        message = f"foreshock {VERSION}"
        pushed = [there.push(board, dry_run=dry_run, message=message) for board in boards]
        marked = 0
        if mark_alerts and not dry_run:
            with Store.existing(database or "") as store:
                marked = there.mark(store.alerts())
    except GrafanaError as error:
        _fail(str(error))
    if json:
        print_json({"dashboards": msgspec.to_builtins(pushed), "annotations": marked})
        return
    for one in pushed:
        said = f"would be {one.status}" if dry_run and one.status != "unchanged" else one.status
        out.print(Text(f"{one.title}: {said}"))
        if dry_run and one.status == "updated":
            out.print(Text("\n".join(map(inert, one.difference))))
    if mark_alerts:
        out.print(f"{marked:,} alerts marked")


def _history(database: str | None) -> "Span | None":
    from pipelines.dashboards import building

    if database is None:
        return None
    with Store.existing(database) as store:
        return building.history(store)


def _given(variables: list[str] | None) -> dict[str, str]:
    from pipelines.dashboards import building

    given = {}
    known = building.variables()
    for one in variables or ():
        name, equals, value = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"{one!r} is no NAME=VALUE", param_hint="--variable")
        if name not in known:
            raise typer.BadParameter(
                f"no dashboard has a variable {name!r}: they have {', '.join(known)}",
                param_hint="--variable",
            )
        given[name] = value
    return given


def _print(done: "list[Checked]") -> None:
    table = Table("dashboard", "panel", "", "status", "rows", "ms", "detail")
    for one in done:
        table.add_row(
            one.dashboard,
            one.part,
            one.query,
            Text(one.status, style=_COLOURS[one.status]),
            f"{one.rows:,}",
            f"{one.milliseconds:,.1f}",
            Text(inert(one.detail)),
        )
    out.print(table)
    counted = {status: sum(one.status == status for one in done) for status in _COLOURS}
    out.print(", ".join(f"{number} {status}" for status, number in counted.items() if number))


def _fail(said: str) -> NoReturn:
    err.print(inert(said), style="red", markup=False)
    sys.exit(1)
