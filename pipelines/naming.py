"""Keys and alerts in words that people use."""

from collections.abc import Mapping
from typing import Any

from models.entities import Recogniser
from pipelines.report import wording


def display_name(key: str) -> str:
    """`entity:AMZN` -> Amazon, `topic:Earnings` -> Earnings, `overall` -> the whole market."""
    kind, _, name = key.partition(":")
    if kind == "entity":
        company = Recogniser.default().table.companies.get(name)
        return company.name if company else name
    return name if kind == "topic" else "the whole market"


def headline(alert: Mapping[str, Any]) -> str:
    """One line of an alert's row: what, on whom, how much against what was expected."""
    name = display_name(alert["key"])
    seconds = alert["evidence"].get("scale_seconds")
    return f"{wording.title(alert, name)}: {wording.against(alert, seconds)}"
