"""Does a dashboard fit Grafana's published schema, as far as the SDK carries it?

The SDK's models are made from that schema, but take anything. So what they read is compared with
what was written, for names that they do not know, and every value with the type of its field.
"""

import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.dashboards.building import Board, as_json


def violations(board: Board) -> list[str]:
    """What the schema does not know, or would not take, each with its place; empty where it fits.

    It says nothing of the queries of PostgreSQL's data source, which the schema leaves open.
    """
    register_default_plugins()
    try:
        read = Dashboard.from_json(board)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"the dashboard cannot be read: {type(error).__name__} {error}"]
    return [*_unknown(board, as_json(read), "dashboard"), *_mistyped(read, Dashboard, "dashboard")]


def _unknown(written: Any, read: Any, place: str) -> Iterator[str]:
    """What was written and is not read."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            if name not in read:
                yield f"{place}.{name} is not in the schema"
            else:
                yield from _unknown(value, read[name], f"{place}.{name}")
    elif isinstance(written, list) and isinstance(read, list):
        for index, (one, other) in enumerate(zip(written, read, strict=False)):
            yield from _unknown(one, other, f"{place}[{index}]")
    elif written != read:
        yield f"{place} is read as {read!r}"


def _mistyped(value: Any, wanted: Any, place: str) -> Iterator[str]:
    if isinstance(value, Dataquery) or wanted in (Any, object):
        wanted = type(value)
    if not _fits(value, wanted):
        yield f"{place} is {value!r}, not {_named(wanted)}"
        return
    parts = typing.get_args(_taken(value, wanted))
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _mistyped(one, parts[0] if parts else Any, f"{place}[{index}]")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _mistyped(one, parts[1] if parts else Any, f"{place}.{name}")
    elif callable(getattr(value, "to_json", None)):
        for name, hint in typing.get_type_hints(type(value)).items():
            yield from _mistyped(getattr(value, name, None), hint, f"{place}.{name}")


def _taken(value: Any, wanted: Any) -> Any:
    """Of a union, the first member that the value fits."""
    if typing.get_origin(wanted) not in (typing.Union, types.UnionType):
        return wanted
    return next(part for part in typing.get_args(wanted) if _fits(value, part))


def _fits(value: Any, wanted: Any) -> bool:
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    kind = origin or wanted
    if kind in (Any, object):
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in {member.value for member in kind}
    return isinstance(value, kind)


def _named(wanted: Any) -> str:
    parts = typing.get_args(wanted)
    return " or ".join(map(_named, parts)) if parts else getattr(wanted, "__name__", str(wanted))
