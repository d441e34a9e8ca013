"""`foreshock produce`: a file into Kafka, at a chosen speed against its event time."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from connectors.errors import BrokerError, SourceTruncated
from connectors.parsing import mapping_of
from pipelines.command.console import out, print_json
from pipelines.command.options import Config, Json, Mapping, SourceOfFile, author_key
from pipelines.command.progress import Bars, progress_bar
from pipelines.configuration import load_configuration
from pipelines.sources import File, Parsing

_DEAD_LETTERS = ".dlq"


def command(
    files: Annotated[
        list[Path], typer.Argument(help="JSON Lines or CSV, plain or .gz; several are merged.")
    ],
    topic: Annotated[
        str | None, typer.Option("--topic", help="Topic to write to. Default: as configured.")
    ] = None,
    brokers: Annotated[
        str | None,
        typer.Option("--brokers", help="HOST:PORT, several with commas. Default: as configured."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=0,
            help="Seconds of event time a second: 60 plays an hour in a minute; 0 does not wait.",
        ),
    ] = 0,
    create_topic: Annotated[
        bool, typer.Option("--create-topic", help="Create the topic where it is missing.")
    ] = False,
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, help="Partitions of a topic that is created.")
    ] = 1,
    mapping: Mapping = None,
    source: SourceOfFile = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Play a history into Kafka by its event time, each message keyed by its id.

    What cannot be read goes to TOPIC.dlq, with the reason. Sending a file twice does no harm: the
    pipeline takes the first copy of each id.
    """
    from connectors.kafka import topics
    from pipelines.produce import produce

    settings = load_configuration(config).kafka
    if brokers:
        settings = msgspec.structs.replace(settings, brokers=brokers)
    topic = topic or settings.topics.messages
    letters = topic + _DEAD_LETTERS
    if create_topic:
        topics.create_topic(settings, topic, partitions)
        topics.create_topic(settings, letters, 1)
    topics.describe_topic(settings, topic)
    with progress_bar() as progress:
        result = produce(
            [File(path) for path in files],
            settings,
            topic,
            dead_letters=letters,
            speed=speed,
            parsing=Parsing(mapping_of(mapping or ()), source),
            author_key=author_key(),
            watching=_Shown(progress),
        )
    if json:
        print_json(msgspec.to_builtins(result))
    else:
        how_far = f"{result.messages:,} of {result.total:,} messages" + (
            f" and {result.dead_letters:,} dead letters" if result.dead_letters else ""
        )
        until = (
            f", up to event time {result.reached:%Y-%m-%d %H:%M:%S} UTC" if result.reached else ""
        )
        verb = "Stopped: sent" if result.interrupted else "Sent"
        line = f"{verb} {how_far} to {topic}{until}, in {result.seconds:,.1f} s"
        out.print(line, markup=False, soft_wrap=True)
    if result.truncated:
        raise SourceTruncated(result.truncated)
    if result.interrupted:
        sys.exit(130)
    if result.messages != result.total:
        raise BrokerError("Not every message was confirmed by the broker: send the file again.")


class _Shown(Bars):
    def producing(self, sent: int, total: int, at: datetime) -> None:
        self.working(f"Sending, event time {at:%Y-%m-%d %H:%M}", sent, total)
