"""Options that several verbs share, so that they read the same everywhere."""

import os
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="FORESHOCK_CONFIG",
        help="TOML file of settings; FORESHOCK_SECTION__NAME overrides a value of it.",
    ),
]
Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="FORESHOCK_DATABASE",
        help="Store to use: sqlite:///PATH or postgresql://USER@HOST/NAME.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Folder of a model: an artifact or a Hugging Face classifier. Default: as configured.",
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        envvar="FORESHOCK_RULES",
        help="TOML file that says who is told of which alerts; nobody is told without one.",
    ),
]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help="FIELD=COLUMN where a column has an unusual name; repeatable."),
]
SourceOfFile = Annotated[
    str | None, typer.Option("--source", help="Name of the source. Default: the file's name.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Serve a page for Prometheus, of this process alone. Default: none.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Rows shown at most.")]

DEFAULT_DATABASE = "sqlite:///foreshock.db"


def author_key() -> bytes | None:
    """The key under which authors are kept as a hash; without one they are dropped."""
    key = os.environ.get("FORESHOCK_AUTHOR_KEY")
    return key.encode() if key else None
