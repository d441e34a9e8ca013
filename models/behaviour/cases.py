"""The cases as they are written down in `cases.toml`."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import ModelError

CASES = Path(__file__).with_name("cases.toml")

Kind = Literal["label", "invariance", "direction"]


class BehaviourError(ModelError):
    """The file of cases is not as it must be."""


class Case(msgspec.Struct, frozen=True):
    """`label`: the sentiment of `text`, or the one that `changed` must not make less probable.

    None where `changed` must leave the sentiment as it is, whatever it is.
    """

    text: str
    changed: str | None = None
    label: str | None = None


class Group(msgspec.Struct, frozen=True):
    """Cases of one capability; what passing means depends on `kind`, see `cases.toml`."""

    name: str
    kind: Kind
    cases: tuple[Case, ...]


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: Kind
    cases: list[tuple[str, str]] = []
    texts: list[str] = []
    values: list[str] = []
    frames: list[str] = []
    label: Literal["negative", "neutral", "positive"] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    group: list[_Written]


def load_groups(path: Path = CASES) -> list[Group]:
    """All groups, in the order of the file; raises `BehaviourError`."""
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BehaviourError(f"The behaviour tests in {path} cannot be read: {error}.") from error
    return [Group(group.name, group.kind, tuple(_cases(group))) for group in file.group]


def _cases(group: _Written) -> Iterator[Case]:
    if group.kind == "label":
        yield from (Case(text, label=label) for text, label in group.cases)
        return
    yield from (Case(text, changed, group.label) for text, changed in group.cases)
    for text in group.texts:
        if group.values:
            first, *others = (text.replace("{}", value) for value in group.values)
            yield from (Case(first, other, group.label) for other in others)
        for frame in group.frames:
            yield Case(text, frame.replace("{}", text), group.label)
