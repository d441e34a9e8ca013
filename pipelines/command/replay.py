"""`foreshock replay`: a bounded history through the whole pipeline into a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from sqlalchemy import select

from connectors.errors import KafkaSettingsError, SourceTruncated
from connectors.kafka.settings import is_address, parse_address
from connectors.parsing import mapping_of
from connectors.store import Store, StoreError
from connectors.store.schema import runs
from pipelines.alerting.heads import HeadSender
from pipelines.command.console import out, print_json
from pipelines.command.options import (
    DEFAULT_DATABASE,
    Config,
    Database,
    Json,
    Mapping,
    SourceOfFile,
    author_key,
)
from pipelines.command.progress import Bars, progress_bar
from pipelines.configuration import load_configuration
from pipelines.naming import display_name, headline
from pipelines.replay import ReplayResult, replay
from pipelines.report import write_report
from pipelines.report.wording import weight
from pipelines.sources import File, Parsing, Source

_SHOWN = 10  # alerts in the summary on the screen
_WHOLE = ("earliest", "latest")


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="JSON Lines or CSV, plain or .gz, or kafka://HOST:PORT/TOPIC; several are merged.",
        ),
    ],
    database: Database = DEFAULT_DATABASE,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML report of the run to this file.")
    ] = None,
    mapping: Mapping = None,
    source: SourceOfFile = None,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="Where to start in a topic: earliest, a time (of publication), "
            "PARTITION:OFFSET,..., or group:NAME.",
        ),
    ] = _WHOLE[0],
    end: Annotated[
        str, typer.Option("--end", help="Where to end in a topic; latest is its end as of now.")
    ] = _WHOLE[1],
    config: Config = None,
    json: Json = False,
) -> None:
    """Replay a history from files or from Kafka: tag, watch, detect, and store.

    A replay that was killed goes on where it was when the same command is given again.
    """
    if (start, end) != _WHOLE and not any(map(is_address, sources)):
        raise KafkaSettingsError("--start and --end are for topics: a file is read whole")
    parsing = Parsing(mapping_of(mapping or ()), source)
    opened = [_source(one, start, end, parsing, config) for one in sources]
    result = run_replay(opened, database, report, parsing, config)
    if json:
        print_json(msgspec.to_builtins(result))
    else:
        show(result, database)
        if report:
            out.print(f"Report: {report}")
    if result.truncated:
        raise SourceTruncated(result.truncated)


def _source(text: str, start: str, end: str, parsing: Parsing, config: Path | None) -> Source:
    if not is_address(text):
        return File(Path(text))
    from connectors.kafka.places import locate, parse_place
    from pipelines.topic_range import TopicRange, record_parser

    brokers, topic = parse_address(text)
    settings = msgspec.structs.replace(load_configuration(config).kafka, brokers=brokers)
    parser = record_parser(topic, parsing, None)
    found = locate(settings, topic, parse_place(start), parse_place(end), parser)
    return TopicRange(settings, found)


def run_replay(
    sources: Sequence[Source],
    database: str,
    report: Path | None,
    parsing: Parsing,
    config: Path | None,
) -> ReplayResult:
    """Replays with progress on the screen, then writes the report where one is wanted."""
    configuration = load_configuration(config)
    with progress_bar() as progress:
        result = replay(
            sources,
            database=database,
            configuration=configuration,
            parsing=parsing,
            author_key=author_key(),
            watching=_Shown(progress),
        )
    with Store.existing(database) as store:
        heads = HeadSender.configured(store, configuration)
        if heads is not None:
            heads.send()
    if report:
        _report(database, report, result)
    return result


def _report(database: str, path: Path, result: ReplayResult) -> None:
    with Store.existing(database) as store:
        (run,) = store.rows(select(runs).where(runs.c.id == result.run))
        try:
            write_report(
                store,
                path,
                configuration=result.configuration,
                run=run,
                explain=None,
                display_name=display_name,
            )
        except OSError as error:
            raise StoreError(f"The report {path} cannot be written: {error.strerror}.") from error


class _Shown(Bars):
    def replaying(self, done: int, total: int) -> None:
        self.working("Tagging and watching", done, total)


def show(result: ReplayResult, database: str) -> None:
    """The summary of a run on the screen."""
    if result.already_complete:
        out.print("This replay is complete in the store already; nothing was run again.")
    elif result.resumed:
        out.print("Went on behind the last slice that was committed.")
    out.print(
        f"Read {result.read:,} = {result.stored:,} stored + {result.duplicates:,} duplicates "
        f"+ {result.dead_letters:,} dead letters, in {result.seconds:,.1f} s"
    )
    if result.late:
        out.print(f"{result.late:,} of the stored came too late for their windows")
    with Store.existing(database) as store:
        alerts = store.alerts(configuration=result.configuration)
    out.print(f"{result.alerts:,} alerts from {result.spikes:,} spikes", style="bold")
    for row in sorted(alerts, key=weight, reverse=True)[:_SHOWN]:
        line = f"  {row['opened_at']:%Y-%m-%d %H:%M}  {row['severity']:<8}  {headline(row)}"
        out.print(line, markup=False, soft_wrap=True)
