"""Templates, and the files that pages load; what a message says is text in them, never markup."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from alerting.inert import exact
from alerting.spike import SEVERITIES
from pipelines.console.access import Caller
from pipelines.console.context import console
from pipelines.dashboards import pictures
from pipelines.manifest import VERSION
from pipelines.report import document, inert, wording
from pipelines.report.figures import Figure

_HERE = Path(str(files(__package__)))
_PIECE = 1 << 16
_AGES = ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"))


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load; `plain` and gzipped."""

    plain: bytes
    packed: bytes
    kind: str
    tag: str


@cache
def assets() -> Mapping[str, Asset]:
    """By name. Nothing else can be asked for, whatever stands in the address."""
    report = files("pipelines.report")
    texts = {
        "report.css": document.themes() + report.joinpath("report.css").read_text("utf-8"),
        "report.js": report.joinpath("report.js").read_text("utf-8"),
        "plotly.js": get_plotlyjs(),
        "console.css": (_HERE / "static/console.css").read_text("utf-8") + pictures.style(),
        "console.js": (_HERE / "static/console.js").read_text("utf-8"),
        "icon.svg": (_HERE / "static/icon.svg").read_text("utf-8"),
    }
    return {name: _asset(name, text.encode()) for name, text in texts.items()}


def page(
    request: Request,
    template: str,
    *,
    caller: Caller | None = None,
    charts: Mapping[str, Figure] | None = None,
    status: int = 200,
    **context: Any,
) -> Response:
    """The page of `template`; `charts` are drawn where it names them, and those that come later
    where there are none."""
    here = console(request)
    html = (
        _environment()
        .get_template(template)
        .render(
            caller=caller,
            path=request.url.path,
            now=here.now(),
            notice=here.notice,
            charts=charts is not None,
            figures=document.data(charts or {}),
            palette=document.palette(),
            **context,
        )
    )
    return HTMLResponse(html, status)


def download(file: IO[bytes], kind: str, name: str | None = None) -> Response:
    """The file, a piece at a time; with a `name` browsers keep it under that."""
    headers = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return StreamingResponse(_pieces(file), media_type=kind, headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def age(moment: datetime, now: datetime) -> str:
    """`3 hours`, `11 years`: how long ago, in the largest unit that fits."""
    seconds = (now - moment).total_seconds()
    for length, unit in _AGES:
        if seconds >= length:
            return wording.plural(int(seconds // length), unit)
    return "moments"


def readable(value: Any) -> str:
    """A value of an event's details as a person reads it, with nothing unseen in it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return inert.visible(text)


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=ChoiceLoader(
            [
                FileSystemLoader(_HERE / "templates"),
                FileSystemLoader(str(files("pipelines.report"))),
            ]
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "severities": SEVERITIES,
        "version": VERSION,
        "asset": lambda name: f"/static/{name}?v={assets()[name].tag}",
    }
    environment.filters |= {
        "time": wording.time,
        "day": wording.day,
        "number": wording.number,
        "percent": wording.percent,
        "age": age,
        "visible": inert.visible,
        "exact": exact,
        "readable": readable,
    }
    return environment


def _asset(name: str, content: bytes) -> Asset:
    kinds = {
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
    tag = hashlib.sha256(content).hexdigest()[:16]
    return Asset(content, gzip.compress(content, 6, mtime=0), kinds[Path(name).suffix], tag)
