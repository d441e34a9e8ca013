"""`foreshock live`: the streaming job on Flink, from Kafka; kept alive while this command runs."""

import shutil
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from connectors.parsing import mapping_of
from pipelines.command.console import out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Config, Json, Mapping
from pipelines.configuration import load_configuration
from pipelines.sources import Parsing

app = typer.Typer(invoke_without_command=True)

_FOLDER = Path(".foreshock")
_DEMO_FOLDER = _FOLDER / "live-demo"
_DEMO_IDLE_SECONDS = 5.0
_SQLITE = "sqlite:///"

Topic = Annotated[
    str | None, typer.Option("--topic", help="Topic to read. Default: as configured.")
]


@app.callback()
def command(
    context: typer.Context,
    topic: Topic = None,
    brokers: Annotated[
        str | None,
        typer.Option("--brokers", help="HOST:PORT, several with commas. Default: as configured."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            envvar="FORESHOCK_DATABASE",
            help=f"Store to use: sqlite:///PATH or postgresql://USER@HOST/NAME. "
            f"Default: {DEFAULT_DATABASE}",
        ),
    ] = None,
    local: Annotated[
        bool,
        typer.Option("--local", help="Start what is missing on this machine, and stop it again."),
    ] = False,
    alerts: Annotated[
        bool,
        typer.Option(
            "--alerts/--no-alerts", help="With --local: run the alert process beside the job."
        ),
    ] = True,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="With --local: PostgreSQL, Prometheus, Alertmanager and Grafana, too, as far as "
            "they are installed.",
        ),
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="With --local: play the bundled sample, and watch it.")
    ] = False,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where a new job starts: earliest, latest, a time (the record's own), "
            "PARTITION:OFFSET,..., or group:NAME. One that was stopped goes on where it was.",
        ),
    ] = "earliest",
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget the state of the job, and begin at --from.")
    ] = False,
    until_idle: Annotated[
        float | None,
        typer.Option(
            "--until-idle",
            min=0.1,
            help="End when nothing has come for so many seconds, as a replay ends.",
        ),
    ] = None,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Write tagged messages and spikes to their topics, too."),
    ] = False,
    parallelism: Annotated[
        int | None, typer.Option("--parallelism", min=1, help="Tasks of one step side by side.")
    ] = None,
    flink: Annotated[
        str | None, typer.Option("--flink", help="HOST:PORT of your JobManager's REST interface.")
    ] = None,
    job_server: Annotated[
        str | None, typer.Option("--job-server", help="HOST:PORT of Beam's job server.")
    ] = None,
    mapping: Mapping = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Name of the source. Default: the topic's.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Run the live job: tag, watch and store what comes through Kafka, and keep it running.

    A job that was stopped, or killed, goes on where it was when the same command is given again.
    """
    if context.invoked_subcommand:
        return
    from pipelines.command.live_session import Local, Session
    from pipelines.live.local import LocalStore, end_leftovers

    if demo and (not local or brokers or topic or database):
        raise typer.BadParameter("--demo goes with --local, and brings its own topic and store")
    if local and (flink or job_server):
        raise typer.BadParameter("--local brings its own Flink: leave --flink and --job-server out")
    if full and not local:
        raise typer.BadParameter("--full goes with --local")
    configuration = load_configuration(config)
    changes = {"flink": flink, "job_server": job_server, "parallelism": parallelism}
    given = {name: value for name, value in changes.items() if value is not None}
    root = _DEMO_FOLDER if demo else _FOLDER
    settings = msgspec.structs.replace(configuration.live, **given)
    if demo:
        end_leftovers(root)
        shutil.rmtree(root, ignore_errors=True)
        settings = msgspec.structs.replace(settings, folder=root / "jobs")
        until_idle = until_idle or _DEMO_IDLE_SECONDS
    root.mkdir(parents=True, exist_ok=True)
    kafka = configuration.kafka
    store = LocalStore.found(root / "postgresql") if full and not database else None
    if store:
        database = store.url
    Session(
        configuration=configuration,
        config=config,
        settings=settings,
        kafka=msgspec.structs.replace(kafka, brokers=brokers) if brokers else kafka,
        topic=topic or kafka.topics.messages,
        database=_absolute(database or (f"sqlite:///{root}/live.db" if demo else DEFAULT_DATABASE)),
        parsing=Parsing(mapping_of(mapping or ()), source),
        start=start,
        until_idle=until_idle,
        publish=publish or local,
        anew=anew,
        local=Local(root, not brokers, alerts, store, full) if local else None,
        demo=demo,
        json=json,
    ).run()


@app.command("status")
def status(topic: Topic = None, config: Config = None, json: Json = False) -> None:
    """Show how the job is, as whoever looks after it saw it last."""
    from pipelines.command.live_session import ago, job_name, line
    from pipelines.live.status import read_status
    from pipelines.live.supervisor import JobFolder, LiveError

    configuration = load_configuration(config)
    name = job_name(topic or configuration.kafka.topics.messages)
    folder = JobFolder(configuration.live, name)
    found = read_status(folder)
    if found is None:
        raise LiveError(f"Nothing is known of a job in {folder.path}: start it, or name its topic.")
    watched = folder.is_held()
    if json:
        print_json({**msgspec.to_builtins(found), "watched": watched})
        return
    out.print(line(found), markup=False, soft_wrap=True)
    for partition, lag in sorted((found.lag or {}).items()):
        out.print(f"  partition {partition}: {lag:,} behind", markup=False)
    out.print(f"Seen {ago(found.at)}", markup=False)
    if not watched:
        out.print("Nobody looks after it: give the same `foreshock live` again.", style="yellow")


@app.command("stop")
def stop_job(topic: Topic = None, config: Config = None) -> None:
    """Stop the job with a savepoint; `foreshock live` goes on from there."""
    from pipelines.command.live_session import job_name, say_stopped
    from pipelines.live.flink import Flink
    from pipelines.live.status import read_status
    from pipelines.live.supervisor import JobFolder, LiveError, stop

    configuration = load_configuration(config)
    name = job_name(topic or configuration.kafka.topics.messages)
    folder = JobFolder(configuration.live, name)
    noted = read_status(folder)
    client = Flink(noted.flink if noted else configuration.live.flink)
    running = [job for job in client.jobs(name) if not job.over]
    if not running:
        raise LiveError(f"Flink at {client.address} has no job {name} that runs.")
    say_stopped(stop(client, running[0], folder.savepoints))


def _absolute(database: str) -> str:
    """Workers may run in another folder than this command."""
    path = database.removeprefix(_SQLITE)
    return database if "://" in path else f"{_SQLITE}{Path(path).absolute()}"
