"""`foreshock tag`: topic and sentiment of texts."""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from connectors.dead_letter import DeadLetter
from connectors.errors import SourceError
from connectors.message import Message
from models.entities import Recogniser
from models.tagger import Tagger
from models.tags import SENTIMENTS, TOPICS, Tags
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import Json, Model
from pipelines.configuration import load_configuration
from pipelines.records import Tagged
from pipelines.tagging import tag_messages

_BATCH = 256
_COLOURS = {"negative": "red", "neutral": "yellow", "positive": "green"}


def command(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to tag. None: a line each of standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Tag a file that holds one text a line.")
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Tag texts with topic and sentiment."""
    results = tag_all(_given(texts, file), load_configuration().tag.serving(model).tagger())
    if json:
        print_json(list(results))
        return
    for result in results:
        out.print(_line(result))


def _given(texts: list[str] | None, file: Path | None) -> Iterator[str]:
    if texts:
        yield from texts
        return
    if file is None:
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            yield from (line.rstrip("\n") for line in lines)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}.") from error


def tag_all(texts: Iterable[str], tagger: Tagger) -> Iterator[dict[str, Any]]:
    """One result for each text, in order, as plain values."""
    now, source = datetime.now(UTC), iter(texts)
    while batch := list(islice(source, _BATCH)):
        messages = [Message(id="", source="command", published_at=now, text=text) for text in batch]
        for text, found in zip(
            batch, tag_messages(messages, tagger, Recogniser.default()), strict=True
        ):
            yield _result(text, found)


def _result(text: str, found: Tagged | DeadLetter) -> dict[str, Any]:
    if isinstance(found, DeadLetter):
        return {"text": text, "error": found.error}
    tags = found.tags
    return {
        "text": text,
        "sentiment": tags.sentiment,
        "topic": tags.topic,
        "abstained": tags.abstained,
        "entities": {name: _mood(found.by_entity.get(name, tags)) for name in found.entities},
        "probabilities": {
            "sentiment": dict(zip(SENTIMENTS, tags.sentiments, strict=True)),
            "topic": dict(zip(TOPICS, tags.topics, strict=True)),
        },
        "model": {
            "name": tags.model.name,
            "version": tags.model.version,
            "checksum": tags.model.checksum,
            "numeric_path": tags.model.numeric_path,
        },
    }


def _mood(tags: Tags) -> dict[str, Any]:
    return {
        "sentiment": tags.sentiment,
        "probability": max(tags.sentiments),
        "abstained": tags.abstained,
    }


def _line(result: dict[str, Any]) -> Text:
    if "error" in result:
        return Text(f"failed    {result['error']}", style="red")
    sentiment, topic = result["sentiment"], result["topic"]
    probabilities = result["probabilities"]
    line = Text(
        f"{sentiment:<8} {probabilities['sentiment'][sentiment]:.2f}", style=_COLOURS[sentiment]
    )
    line.append(f"  {topic} {probabilities['topic'][topic]:.2f}", style="bold")
    for name, mood in result["entities"].items():
        line.append(f"  {name} {mood['probability']:.2f}", style=_COLOURS[mood["sentiment"]])
    unsure = "  (unsure)" if result["abstained"] else ""
    return line.append(f"{unsure}  {inert(result['text'])}", style="not bold default")
