"""How many of the cases a model passes."""

from collections.abc import Iterable

import msgspec

from models.behaviour.cases import Case, Group, Kind, load_groups
from models.tagger import Tagger
from models.tags import SENTIMENTS, Tags

TOLERANCE = 0.05
"""A probability may fall by as much before a direction test fails: near 1 nothing can rise."""


class Failure(msgspec.Struct, frozen=True):
    """A case that was not passed; `found` says what the model did instead."""

    case: Case
    found: str


class PassRate(msgspec.Struct, frozen=True):
    """What one group came to."""

    group: str
    kind: Kind
    cases: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> int:
        return self.cases - len(self.failures)

    @property
    def rate(self) -> float:
        """Share of cases passed, 0 to 1."""
        return self.passed / self.cases


def pass_rates(tagger: Tagger, groups: Iterable[Group] | None = None) -> list[PassRate]:
    """What the model does on each of `groups`; None for those that come with the program.

    Raises `TaggingError` where the model fails on a text.
    """
    chosen = list(load_groups() if groups is None else groups)
    texts = [t for g in chosen for c in g.cases for t in (c.text, c.changed) if t is not None]
    known: dict[str, Tags] = {}
    for text, result in zip(texts, tagger.tag(texts), strict=True):
        if not isinstance(result, Tags):
            raise result
        known[text] = result
    return [
        PassRate(
            group=group.name,
            kind=group.kind,
            cases=len(group.cases),
            failures=tuple(
                Failure(case, found)
                for case in group.cases
                if (found := _fault(case, known)) is not None
            ),
        )
        for group in chosen
    ]


def _fault(case: Case, known: dict[str, Tags]) -> str | None:
    """What is wrong, or None where the case is passed."""
    before = known[case.text]
    if case.changed is None:
        return before.sentiment if before.sentiment != case.label else None
    after = known[case.changed]
    if case.label is None:
        changed = after.sentiment != before.sentiment
        return f"{before.sentiment} became {after.sentiment}" if changed else None
    column = SENTIMENTS.index(case.label)
    was, is_now = before.sentiments[column], after.sentiments[column]
    return f"{case.label} fell from {was:.2f} to {is_now:.2f}" if is_now < was - TOLERANCE else None
