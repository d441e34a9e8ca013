"""One HTML file that needs nothing else, neither network nor server.

Text of messages is hostile input: the templates escape it, `inert` makes unseen characters visible,
and the page's own policy runs no script but the two whose hashes it names and loads nothing at all.
"""

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipelines.report import figures
from pipelines.report.figures import Figure


def document(template: str, charts: Mapping[str, Figure], **context: Any) -> str:
    """The page of `template`, which extends `base.html`; `charts` are drawn where it names them."""
    script, plotly = _asset("report.js"), get_plotlyjs()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_asset)
    )
    return environment.from_string(template).render(
        policy=_policy(script, plotly),
        style=Markup(themes() + _asset("report.css")),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        plotly=Markup(plotly),  # noqa: S704 - Plotly's
        has_figures=bool(charts),
        figures=data(charts),
        palette=palette(),
        **context,
    )


def write(path: Path, page: str) -> None:
    """Writes the page whole or not at all; raises OSError where `path` cannot be written."""
    with writing(path) as file:
        file.write(page)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A file that stands at `path` when the block has ended, or not at all; raises OSError where it
    cannot be written."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _policy(*scripts: str) -> str:
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def themes() -> str:
    """The colours as a style sheet: light, or dark where the reader's screen is."""
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in colours.items())
        for colours in (figures.LIGHT, figures.DARK)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def palette() -> Markup:
    """The dark colour for each light one, as a data block."""
    return data(dict(zip(figures.LIGHT.values(), figures.DARK.values(), strict=True)))


def data(value: object) -> Markup:
    """JSON for a data block: no character in it can end the block or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _asset(name: str) -> str:
    return files("pipelines.report").joinpath(name).read_text(encoding="utf-8")
