"""Writes the report: one HTML file that needs nothing else, neither network nor server.

Message text is hostile input: the template escapes it, `inert` makes unseen characters visible, and
the page's own policy runs no script but the two whose hashes it names and loads nothing at all.
"""

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from alerting.spike import SEVERITIES
from connectors.store import Store
from pipelines.report import content, figures
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
    _write(path, render(gathered))


def render(gathered: Content) -> str:
    """The page as HTML."""
    script, plotly = _asset("report.js"), get_plotlyjs()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_asset("template.html")).render(
        content=gathered,
        severities=SEVERITIES,
        policy=_policy(script, plotly),
        style=Markup(_style()),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        plotly=Markup(plotly),  # noqa: S704 - Plotly's
        figures=_data(gathered.figures),
        palette=_data(dict(zip(figures.LIGHT.values(), figures.DARK.values(), strict=True))),
    )


def _policy(*scripts: str) -> str:
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in colours.items())
        for colours in (figures.LIGHT, figures.DARK)
    )
    themes = f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    return themes + _asset("report.css")


def _data(value: object) -> Markup:
    """JSON for a data block: no character in it can end the block or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _asset(name: str) -> str:
    return files("pipelines.report").joinpath(name).read_text(encoding="utf-8")


def _write(path: Path, page: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
