"""`foreshock doctor`: is the installation whole, and does every configured server answer?"""

import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import func, select

from alerting.errors import AlertingError
from connectors.errors import ConnectorError
from connectors.store import Store
from connectors.store.schema import tags
from models.artifact import TaggingConfig
from models.backends.choice import choose
from models.backends.openvino import instruction_set
from models.drift import compare, observed_counts, reference
from models.entities import Recogniser
from models.errors import ModelError
from models.tags import HEADS, Tags
from pipelines.alerting.channels import open_channels
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import Config, Json, Model
from pipelines.configuration import ConfigurationError, load_configuration

Check = Callable[[], str]


def command(
    database: Annotated[
        str | None,
        typer.Option("--database", envvar="FORESHOCK_DATABASE", help="Check this store as well."),
    ] = None,
    model: Model = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Check the installation and every configured server, and say what is wrong."""

    def artifact() -> str:
        tagger = load_configuration(config).tag.serving(model).tagger()
        (answer,) = tagger.tag(["Profit falls"])
        if not isinstance(answer, Tags):
            raise ModelError(f"the model fails on a plain text: {answer}")
        name = tagger.identity
        return f"{name.name} {name.version}, {name.checksum[:12]}, on {name.numeric_path}"

    def device() -> str:
        wanted = load_configuration(config).tag.device
        chosen, reason = choose(wanted)
        detail = f", int8 by {instruction_set()}" if chosen == "cpu" else ""
        return f"{chosen} ({wanted}: {reason}){detail}"

    def store() -> str:
        with Store.existing(database or "") as opened:
            return f"{opened.url}: {len(opened.alerts()):,} alerts"

    def labels() -> str:
        normal = load_configuration(config).tag.serving(model).tagger().config
        with Store.existing(database or "") as opened:
            return "; ".join(_mix(opened, head, normal) for head in HEADS)

    def configuration() -> str:
        load_configuration(config)
        return str(config) if config else "defaults and environment"

    def channels() -> str:
        found = load_configuration(config)
        return ", ".join(open_channels(found.channels, found.delivery, found.kafka)) or "none"

    checks: dict[str, Check] = {
        "python": lambda: f"{platform.python_version()} on {platform.machine()}",
        "beam": lambda: f"apache-beam {version('apache-beam')}",
        "configuration": configuration,
        "channels": channels,
        "device": device,
        "model": artifact,
        "companies": lambda: f"{len(Recogniser.default().table.companies):,} companies",
    }
    if database:
        checks |= {"store": store, "labels": labels}
    results = list(_results(checks))
    if json:
        print_json([{"check": name, "ok": ok, "detail": said} for name, ok, said in results])
    else:
        for name, ok, said in results:
            mark = Text("ok    ", style="green") if ok else Text("FAILED", style="bold red")
            out.print(mark.append(f"  {name:<14} {inert(said)}", style="not bold default"))
    if not all(ok for _, ok, _ in results):
        sys.exit(1)


def _mix(store: Store, head: str, normal: TaggingConfig) -> str:
    """How far the mix of a head's labels in the store is from what the model learned on."""
    label = tags.c[head]
    rows = store.rows(select(label, func.count().label("texts")).group_by(label))
    expected = reference(normal, head)
    counts = observed_counts(head, {row[head]: row["texts"] for row in rows})
    drift = compare(counts, expected) if expected else None
    if drift is None:
        return f"{head}: nothing to compare"
    moved = "another mix than in training" if drift.labels_moved else "much as in training"
    return f"{head}: {moved} (stability index {drift.psi:.2f}, {drift.n:,} messages)"


def _results(checks: dict[str, Check]) -> Iterator[tuple[str, bool, str]]:
    for name, check in checks.items():
        try:
            yield name, True, check()
        except (
            AlertingError,
            ModelError,
            ConnectorError,
            ConfigurationError,
            OSError,
        ) as error:
            yield name, False, str(error)
