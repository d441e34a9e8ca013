"""The bundled table of companies: symbols and names, each with the days on which it holds.

`companies.csv` is made from public lists by `build_table.py`; `knowledge.toml` is kept by hand.
"""

import csv
import re
import tomllib
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.errors import ModelError

_HERE = Path(__file__).parent
_WORD = re.compile(r"\w+")


class TableError(ModelError):
    """The bundled files contradict each other or cannot be read."""


@dataclass(frozen=True, slots=True)
class Company:
    """A listed company. `entity` is its current symbol (`BRK.B` style), or its last one.

    `sector` is its GICS sector where it is in the S&P 500, else empty.
    """

    entity: str
    name: str
    sector: str = ""


@dataclass(frozen=True, slots=True)
class Days:
    """From the day `first` up to, but without, the day `end`."""

    first: date = date.min
    end: date = date.max

    def __contains__(self, day: date) -> bool:
        return self.first <= day < self.end


ALWAYS = Days()

GRACE = timedelta(days=365)
"""So long after its last day a company is still written of, if nobody took over."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When an ambiguous name means the company; words in lower case, see `knowledge.toml`."""

    alone: bool = False
    medium: bool = False
    possessive: bool = True
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Name:
    """One spelling of one company's name, split into words.

    `ampersands[i]` says whether an ampersand stands between the words i and i + 1. An `exact` name
    is an acronym and must be written just so.
    """

    entity: str
    words: tuple[str, ...]
    lower: tuple[str, ...]
    ampersands: tuple[bool, ...]
    exact: bool
    days: Days = ALWAYS
    rule: Rule | None = None


@dataclass(frozen=True)
class Context:
    """Words that tell in which role a company is spoken of, in lower case."""

    business: frozenset[str]
    rating_verbs: frozenset[str]
    opinion_verbs: frozenset[str]
    rating_words: frozenset[str]
    stances: frozenset[str]
    writings: frozenset[str]


@dataclass(frozen=True)
class Table:
    """All companies, and who bears which symbol and name on which days."""

    companies: dict[str, Company]
    symbols: dict[str, tuple[tuple[str, Days], ...]]
    names: dict[str, tuple[Name, ...]]
    word_symbols: frozenset[str]
    voices: frozenset[str]
    context: Context

    @classmethod
    def load(cls, companies: Path | None = None, knowledge: Path | None = None) -> "Table":
        """Reads the bundled files, or others of the same form. Raises `TableError`."""
        companies = companies or _HERE / "companies.csv"
        knowledge = knowledge or _HERE / "knowledge.toml"
        try:
            with companies.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines))
            return _Assembly(rows, tomllib.loads(knowledge.read_text("utf-8"))).table()
        except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise TableError(
                f"The table of companies cannot be read from {companies} and {knowledge} "
                f"({reason}); install the package again or mend the file."
            ) from error

    def company_of(self, symbol: str, day: date) -> str | None:
        """The entity that bore `symbol` (upper case, `BRK.B` style) on that day."""
        for entity, days in self.symbols.get(symbol, ()):
            if day in days:
                return entity
        return None

    def is_ambiguous(self, symbol: str) -> bool:
        """Whether `symbol` is so short, or so much of a word, that it needs support."""
        return len(symbol) < 3 or symbol in self.word_symbols

    @cached_property
    def small_names(self) -> frozenset[str]:
        """First words of names that begin with a small letter (`bluebird bio`)."""
        names = (name for bearers in self.names.values() for name in bearers)
        return frozenset(name.words[0] for name in names if name.words[0].islower())

    @cached_property
    def bare_symbols(self) -> frozenset[str]:
        """Symbols that mean their company without a dollar sign: long, known and no words."""
        known = {entity for entity, company in self.companies.items() if company.sector}
        return frozenset(
            symbol
            for symbol, bearers in self.symbols.items()
            if len(symbol) > 3
            and symbol.isalpha()
            and symbol not in self.word_symbols
            and any(entity in known for entity, _ in bearers)
        )


def split_name(spelling: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """`Johnson & Johnson` -> (`Johnson`, `Johnson`), (True,)."""
    found = list(_WORD.finditer(spelling))
    gaps = (spelling[a.end() : b.start()] for a, b in pairwise(found))
    return tuple(word.group() for word in found), tuple("&" in gap for gap in gaps)


@dataclass
class _Assembly:
    """Puts the two files together."""

    rows: list[dict[str, str]]
    knowledge: dict[str, Any]
    symbols: dict[str, list[tuple[str, Days]]] = field(default_factory=dict)
    names: dict[str, list[Name]] = field(default_factory=dict)
    companies: dict[str, Company] = field(default_factory=dict)

    def table(self) -> Table:
        self._add_companies()
        self._add_symbols()
        self._add_names()
        words = {key: frozenset(text.split()) for key, text in self.knowledge["context"].items()}
        return Table(
            companies=self.companies,
            symbols={symbol: tuple(bearers) for symbol, bearers in self.symbols.items()},
            names={
                first: tuple(sorted(names, key=lambda name: -len(name.words)))
                for first, names in self.names.items()
            },
            word_symbols=frozenset(self.knowledge["word_symbols"].split()),
            voices=frozenset(map(self._known, self.knowledge["voices"])),
            context=Context(**words),
        )

    def _known(self, entity: str) -> str:
        if entity not in self.companies:
            raise TableError(f"knowledge.toml speaks of {entity!r}, which no list knows; mend it.")
        return entity

    def _add_companies(self) -> None:
        for row in self.rows:
            self.companies[row["entity"]] = Company(row["entity"], row["name"], row["sector"])
        for entity, names, _ in self.knowledge["former"]:
            self.companies[entity] = Company(entity, names[0])

    def _add_symbols(self) -> None:
        by_hand = {entry["symbol"] for entry in self.knowledge["symbols"]}
        taken_over = by_hand.union(*(row["symbols"].split() for row in self.rows))
        ends: dict[str, date] = {}
        for entity, _, end in self.knowledge["former"]:
            symbol = _symbol_of(entity)
            ends[symbol] = end
            last = end if symbol in taken_over else end + GRACE
            self.symbols[symbol] = [(entity, Days(end=last))]
        for entry in self.knowledge["symbols"]:
            days = Days(entry.get("from", date.min), entry.get("until", date.max))
            bearers = self.symbols.setdefault(entry["symbol"], [])
            bearers.append((self._known(entry["entity"]), days))
        for row in self.rows:
            for symbol in row["symbols"].split():
                if symbol not in by_hand:
                    days = Days(first=ends.get(symbol, date.min))
                    self.symbols.setdefault(symbol, []).append((row["entity"], days))

    def _add_names(self) -> None:
        rules = {name: _rule(entry) for name, entry in self.knowledge["ambiguous"].items()}
        by_hand: dict[str, list[str]] = self.knowledge["names"]
        taken = {name.lower() for names in by_hand.values() for name in names}
        bundled = [
            (row["entity"], name)
            for row in self.rows
            for name in row["names"].split("|")
            if name and name.lower() not in taken
        ]
        taken_over = taken.union(name.lower() for _, name in bundled)
        ends: dict[str, date] = {}
        for entity, names, end in self.knowledge["former"]:
            for name in names:
                ends[name.lower()] = end
                last = end if name.lower() in taken_over else end + GRACE
                self._add(entity, name, Days(end=last), rules)
        for entity, names in by_hand.items():
            for name in names:
                self._add(self._known(entity), name, ALWAYS, rules)
        for entity, name in bundled:
            self._add(entity, name, Days(first=ends.get(name.lower(), date.min)), rules)

    def _add(self, entity: str, name: str, days: Days, rules: dict[str, Rule]) -> None:
        for spelling in {name, name.replace(" & ", " and ")}:
            words, ampersands = split_name(spelling)
            lower = tuple(word.lower() for word in words)
            exact = len(words) == 1 and len(spelling) <= 4
            entry = Name(entity, words, lower, ampersands, exact, days, rules.get(name))
            self.names.setdefault(lower[0], []).append(entry)


def _symbol_of(former_entity: str) -> str:
    return re.sub(r"\.\d{4}$", "", former_entity)


def _rule(entry: dict[str, Any]) -> Rule:
    words = {key: frozenset(entry.get(key, ())) for key in ("before", "after", "near")}
    return Rule(
        alone=entry.get("alone", False),
        medium=entry.get("medium", False),
        possessive=entry.get("possessive", True),
        **words,
    )
