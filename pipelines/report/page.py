"""Writes the report: one HTML file that needs nothing else, neither network nor server."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from alerting.spike import SEVERITIES
from connectors.store import Store
from pipelines.report import content, document
from pipelines.report.content import Content, Explain


def write_report(
    store: Store,
    path: Path,
    *,
    configuration: str,
    run: Mapping[str, Any],
    explain: Explain | None,
    display_name: Callable[[str], str],
) -> None:
    """Writes what the store holds under `configuration` to `path`, whole or not at all.

    `run` is {"manifest": {...}, "counters": {...}} as in the table `runs`. Of the manifest `source`
    (name or names), `model` and `code_version` are shown; of the counters `read`, `stored`,
    `duplicates` and `dead_letters`. `explain(text, label)` gives (start, end, word, weight) for the
    words that speak for the label (weight > 0), offsets into `text`: title, line break, text.
    `display_name` takes a key such as "entity:AMZN". Raises OSError where `path` cannot be written.
    """
    with store.engine.connect() as connection:
        gathered = content.gather(
            connection,
            configuration=configuration,
            run=run,
            explain=explain,
            display_name=display_name,
        )
    document.write(path, render(gathered))


def render(gathered: Content) -> str:
    """The page as HTML."""
    template = files("pipelines.report").joinpath("template.html").read_text(encoding="utf-8")
    return document.document(template, gathered.figures, content=gathered, severities=SEVERITIES)
