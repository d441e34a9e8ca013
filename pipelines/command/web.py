"""`foreshock console`: the web pages for analysts and compliance."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from connectors.errors import StoreError
from connectors.store import Store
from pipelines.command.console import out
from pipelines.command.options import DEFAULT_DATABASE, Config, Database
from pipelines.configuration import load_configuration
from pipelines.console.errors import AccountError
from pipelines.console.server import DEMO_USER, Address, accounts, console, demo_password, serve
from pipelines.telemetry.logs import configure

_DEMO = Path(".foreshock/demo.db")


def command(
    database: Database = DEFAULT_DATABASE,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where to listen.")] = 8321,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; other than this machine needs TLS."),
    ] = "127.0.0.1",
    demo: Annotated[
        bool,
        typer.Option("--demo", help="The demo's store, with a demo user; on this machine only."),
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open it in this machine's browser.")
    ] = False,
    config: Config = None,
) -> None:
    """Serve the pages for analysts and compliance, and the REST API."""
    configuration = load_configuration(config)
    configure(configuration.logs)
    address = Address(host=host, port=port)
    if demo and not address.loopback:
        raise typer.BadParameter("the demo is for this machine only: leave --host out")
    if demo and not _DEMO.is_file():
        raise StoreError(f"there is no demo's store at {_DEMO}: run foreshock demo first")
    notice = "Demo: real tweets of 2014, one user, this machine only." if demo else None
    with Store.existing(f"sqlite:///{_DEMO}" if demo else database) as store:
        running = console(store, configuration, address, notice)
        if demo:
            password = demo_password(running.accounts)
            out.print(Text(f"Log in as {DEMO_USER} with the password {password}"))
        elif not accounts(store, configuration).users():
            raise AccountError("nobody may log in yet: foreshock users add NAME --role compliance")
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if configuration.console.certificate else "http"
        url = f"{scheme}://{shown}:{port}/"
        out.print(f"Console: {url} (stop it with Ctrl+C)", soft_wrap=True)
        if open_browser:
            webbrowser.open(url)
        serve(running, address)
