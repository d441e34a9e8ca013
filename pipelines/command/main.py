"""The `foreshock` command: one verb a module. Exit codes: 0, 1 failed, 2 wrong usage."""

import logging
import os
import sys
from typing import Annotated

import typer

from alerting.errors import AlertingError
from connectors.errors import ConnectorError, KafkaSettingsError, MappingError
from models.errors import ModelError
from pipelines.command import (
    alerts,
    dashboards,
    database,
    dead_letters,
    demo,
    detect,
    doctor,
    evaluate,
    frames,
    live,
    produce,
    replay,
    tag,
    train,
    users,
    web,
)
from pipelines.command.console import err, inert
from pipelines.configuration import ConfigurationError
from pipelines.live.flink import FlinkError
from pipelines.manifest import VERSION
from pipelines.metrics.endpoint import EndpointError

app = typer.Typer(
    name="foreshock",
    help="Watches financial news and social text, and warns when negative news surges.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in (demo, replay, produce, tag, detect, evaluate, train, doctor):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
app.command("console")(web.command)
app.add_typer(database.app, name="database")
app.add_typer(users.app, name="users")
app.add_typer(alerts.app, name="alerts")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("export")(frames.command)
app.add_typer(dashboards.app, name="dashboards")
app.add_typer(live.app, name="live")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foreshock {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """The entry point: every error that a user can mend is one sentence, without a trace."""
    # The library logs an attempt to connect again and again; what became of it is our sentence.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        app()
    except (MappingError, KafkaSettingsError, ConfigurationError) as error:
        _fail(error, 2)
    except (ConnectorError, ModelError, AlertingError, FlinkError, EndpointError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        err.print("Stopped. What was committed stays; the same command goes on from there.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(error: Exception, code: int) -> None:
    err.print(inert(str(error)), style="red", markup=False)
    sys.exit(code)
