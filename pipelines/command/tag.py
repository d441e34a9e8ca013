"""`foreshock tag`: topic and sentiment of texts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from connectors.errors import SourceError
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import Json, Model
from pipelines.configuration import load_configuration
from pipelines.texts import tag_all

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
