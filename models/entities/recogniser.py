"""Finds the companies that a text speaks of. Precision comes before recall.

A cashtag or a distinct name is enough. A name that is also a word (`Target`, `Gap`) needs a sign of
the company near it, and a name does not count where the company only speaks of others (`JPMorgan
upgrades Deere`) or carries the news (`via Google`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, cached_property
from typing import Literal

import msgspec

from models.entities.table import Name, Rule, Table

LISTING_CASHTAGS = 4
"""A text with so many different cashtags lists them and says nothing of any one."""

MAX_CHARACTERS = 20_000
"""No more of a text is read: what it is about stands before, and the time stays bounded."""

_REACH = 6
"""So many words before and behind an ambiguous name may hold a sign of the company."""

_MARKED = re.compile(
    r"(?:https?:|www\.)\S*"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|\#\w{1,6});"
    r"|(?<![\w$&\#@])\$(?P<symbol>[A-Za-z]{1,6})(?:(?P<mark>[./_-])(?P<series>[A-Za-z]{1,2}))?(?![\w$])"
    r"|[@\#$](?P<tag>\w+)"
)
"""What is no plain word: links, HTML entities, cashtags, hashtags, mentions of people."""

_WORD = re.compile(r"\w+")
_STYLED = re.compile(r"\w\$[A-Za-z]|[A-Za-z]{2}\$(?!\w)")
"""Dollars for the letter S (`BE$T`) or in currencies (`U$D`): a `$T` beside them is no cashtag."""

_JOINT = re.compile(r"[ .\-'’‐–*/]{0,2}\Z")
_LIST = re.compile(
    r"\s*(?:[,/;|&+]|&amp;|,?\s+(?:and|or|vs\.?|&amp;|&))\s*(?:\Z|and\s+\Z|&amp;\s+\Z)"
)
_EXCHANGE = re.compile(r"\s?:\s?\$?\Z")
_ATTRIBUTION = re.compile(r"\s*(?::|\s[-–—|])\s+\Z")
_EXCHANGES = frozenset({"nyse", "nasdaq", "nasdaqgs", "nasdaqgm", "nasdaqcm", "amex", "nysemkt"})
_REUTERS_CODES = frozenset({"n", "o", "oq"})
_SPEAKS = frozenset({"says", "said", "tells", "told", "thinks"})
_DOMAINS = frozenset({"com", "co", "org", "net"})

Kind = Literal["cashtag", "ticker", "name", "given"]


class Mention(msgspec.Struct, frozen=True):
    """One company at one place: `text[start:end]`; both 0 where only the source named it."""

    entity: str
    start: int
    end: int
    kind: Kind


class Recognition(msgspec.Struct, frozen=True):
    """What was found: `mentions` by place, `entities` distinct and sorted.

    `listing`: the text is a list of cashtags and should weigh nothing for any of them.
    """

    mentions: tuple[Mention, ...]
    entities: tuple[str, ...]
    listing: bool


@dataclass(slots=True)
class _Candidate:
    """A name that stands in the text at the words `first` to `last`, not yet believed."""

    name: Name
    first: int
    last: int


class _Reading:
    """A text taken apart into words; places are offsets into it."""

    def __init__(self, text: str, day: date) -> None:
        self.text, self.day = text, day
        self.marked = list(_MARKED.finditer(text))
        self._plain = _MARKED.sub(_blank, text) if self.marked else text
        self.words: list[str] = _WORD.findall(self._plain)
        self.lower = [word.lower() for word in self.words]
        self.cashtags: set[str] = set()
        self.mentions: list[Mention] = []
        self.candidates: list[_Candidate] = []

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where each word begins and ends."""
        return [word.span() for word in _WORD.finditer(self._plain)]

    @cached_property
    def is_styled(self) -> bool:
        """Whether dollar signs stand for letters or money somewhere in the text."""
        return _STYLED.search(self.text) is not None

    def gap(self, index: int) -> str:
        """What stands between the words `index` and `index + 1`, up to eight characters of it."""
        if not 0 <= index < len(self.words) - 1:
            return "\n"
        end = self.spans[index][1]
        return self.text[end : min(self.spans[index + 1][0], end + 8)]

    def word(self, index: int) -> str:
        """The word in lower case; empty beyond the text."""
        return self.lower[index] if 0 <= index < len(self.lower) else ""


def _blank(found: re.Match[str]) -> str:
    return " " * (found.end() - found.start())


class Recogniser:
    """Recognises companies by a `Table`. Holds no state: safe to share between threads."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @staticmethod
    @cache
    def default() -> "Recogniser":
        """The process's one with the bundled table; takes a quarter of a second at first."""
        return Recogniser(Table.load())

    def recognise(self, text: str, *, at: datetime, given: tuple[str, ...] = ()) -> Recognition:
        """The companies of `text` as of `at`; `given` are symbols that the source attached.

        A given symbol counts where it resolves, unless it is a short one or a word and nothing in
        the text supports it. Never raises on any text; takes time in proportion to its length, up
        to `MAX_CHARACTERS`.
        """
        day = at.astimezone(UTC).date() if at.tzinfo else at.date()
        reading = _Reading(text[:MAX_CHARACTERS], day)
        self._find_symbols(reading)
        self._find_names(reading)
        certain = {mention.entity for mention in reading.mentions}
        believed_given = self._believe_given(reading, given, certain)
        if reading.candidates:
            self._believe_names(reading, certain | believed_given)
        named = {mention.entity for mention in reading.mentions}
        only_given = (Mention(entity, 0, 0, "given") for entity in believed_given - named)
        mentions = [*only_given, *reading.mentions]
        mentions.sort(key=lambda mention: (mention.start, mention.entity))
        return Recognition(
            mentions=tuple(mentions),
            entities=tuple(sorted(named | believed_given)),
            listing=len(reading.cashtags) >= LISTING_CASHTAGS,
        )

    def _find_symbols(self, reading: _Reading) -> None:
        for found in reading.marked:
            if found["symbol"]:
                self._add_cashtag(reading, found)
            elif found["tag"] in self.table.bare_symbols and found.group()[0] == "#":
                self._add_ticker(reading, found["tag"], found.span())

    def _add_cashtag(self, reading: _Reading, token: re.Match[str]) -> None:
        written, mark, series = token["symbol"], token["mark"], token["series"]
        symbol = written.upper()
        doubtful = self.table.is_ambiguous(symbol)
        if doubtful and (written != symbol or reading.is_styled):
            return
        reading.cashtags.add(symbol)
        entity = self.table.company_of(symbol, reading.day)
        if series:
            share_class = self.table.company_of(f"{symbol}.{series.upper()}", reading.day)
            entity = share_class or (None if mark in "._" else entity)
        if entity is not None:
            reading.mentions.append(Mention(entity, token.start(), token.end(), "cashtag"))

    def _add_ticker(self, reading: _Reading, symbol: str, span: tuple[int, int]) -> None:
        entity = self.table.company_of(symbol, reading.day)
        if entity is not None:
            reading.mentions.append(Mention(entity, *span, "ticker"))

    def _find_names(self, reading: _Reading) -> None:
        names, bare = self.table.names, self.table.bare_symbols
        small = self.table.small_names
        taken = -1
        for index, (word, lower) in enumerate(zip(reading.words, reading.lower, strict=True)):
            if index <= taken or (word == lower and not word[0].isdigit() and word not in small):
                continue
            for name in names.get(lower, ()):
                if _stands_at(name, reading, index):
                    taken = index + len(name.words) - 1
                    reading.candidates.append(_Candidate(name, index, taken))
                    break
            else:
                if word in bare or (word.isupper() and _is_marked_as_symbol(reading, index)):
                    self._add_ticker(reading, word, reading.spans[index])

    def _believe_given(
        self, reading: _Reading, given: tuple[str, ...], certain: set[str]
    ) -> set[str]:
        supported = certain | {candidate.name.entity for candidate in reading.candidates}
        believed = set()
        for symbol in (symbol.strip().lstrip("$").upper().replace("-", ".") for symbol in given):
            entity = self.table.company_of(symbol, reading.day)
            doubtful = self.table.is_ambiguous(symbol)
            if entity is not None and (entity in supported or not doubtful):
                believed.add(entity)
        return believed

    def _believe_names(self, reading: _Reading, certain: set[str]) -> None:
        candidates = [
            candidate
            for candidate in reading.candidates
            if not self._is_disowned(reading, candidate)
        ]
        clear = [_needs_no_sign(candidate.name.rule) for candidate in candidates]
        supported = certain | {
            candidate.name.entity for candidate, sure in zip(candidates, clear, strict=True) if sure
        }
        believed = [
            sure or candidate.name.entity in supported or self._has_sign(reading, candidate)
            for candidate, sure in zip(candidates, clear, strict=True)
        ]
        _believe_neighbours(reading, candidates, believed)
        real = [candidate for candidate, yes in zip(candidates, believed, strict=True) if yes]
        spoken_of = certain | {candidate.name.entity for candidate in real}
        for candidate in real:
            entity = candidate.name.entity
            if entity in self.table.voices and self._only_speaks(reading, candidate, spoken_of):
                continue
            start, end = reading.spans[candidate.first][0], reading.spans[candidate.last][1]
            reading.mentions.append(Mention(entity, start, end, "name"))

    def _is_disowned(self, reading: _Reading, candidate: _Candidate) -> bool:
        """Whether the words beside the name make it something else."""
        before = reading.word(candidate.first - 1)
        after = reading.word(candidate.last + 1)
        if before in {"former", "ex"} or (after in _DOMAINS and reading.gap(candidate.last) == "."):
            return True
        rule = candidate.name.rule
        if rule is None:
            return False
        if before in rule.before or after in rule.after:
            return True
        if not rule.medium:
            return False
        stance = reading.word(candidate.first - 2) in self.table.context.stances
        return (
            before == "via" or (before == "on" and not stance)
        ) or after in self.table.context.writings

    def _has_sign(self, reading: _Reading, candidate: _Candidate) -> bool:
        rule = candidate.name.rule
        assert rule is not None
        behind = candidate.last + 1
        if reading.word(behind) == "s" and reading.gap(candidate.last) in {"'", "’"}:
            if rule.possessive:
                return True
            behind += 1
        if (
            reading.word(behind) in self.table.context.business
            and reading.gap(behind - 1).strip(" '’,") == ""
        ):
            return True
        around = range(candidate.first - _REACH, candidate.last + _REACH + 1)
        return any(
            reading.word(i) in rule.near
            for i in around
            if not candidate.first <= i <= candidate.last
        )

    def _only_speaks(self, reading: _Reading, candidate: _Candidate, spoken_of: set[str]) -> bool:
        """Whether a bank speaks of others here, and is not itself what the text is about."""
        context = self.table.context
        others = len(spoken_of) > 1 or not context.rating_words.isdisjoint(reading.lower)
        behind = candidate.last + 1
        if reading.word(behind) == "s":
            behind += 1
        if behind > candidate.last + 1 and self._quotes_a_person(reading, behind):
            return others
        verbs = {reading.word(behind), reading.word(behind + 1)}
        if verbs & context.rating_verbs:
            return True
        if others and reading.word(behind) in context.opinion_verbs:
            return True
        if reading.word(candidate.first - 1) in _SPEAKS or reading.lower[
            max(0, candidate.first - 2) : candidate.first
        ] == ["according", "to"]:
            return True
        before = {reading.word(candidate.first - 1), reading.word(candidate.first - 2)}
        if others and before & {"at", "by", "analysts", "analyst"}:
            nearby = range(candidate.first - 10, candidate.first)
            if any(reading.word(i) in context.rating_words for i in nearby):
                return True
        ends_text = candidate.last == len(reading.words) - 1
        return ends_text and bool(_ATTRIBUTION.match(reading.gap(candidate.first - 1)))

    def _quotes_a_person(self, reading: _Reading, index: int) -> bool:
        """`says RBC's Mahaney`: a capitalised word, no business word, where somebody speaks."""
        if not reading.words[index : index + 1] or reading.words[index].islower():
            return False
        named = reading.word(index) not in self.table.context.business
        return named and not _SPEAKS.isdisjoint(reading.lower)


def _stands_at(name: Name, reading: _Reading, index: int) -> bool:
    """Whether all words of the name stand there, each beginning as a name does."""
    if reading.day not in name.days:
        return False
    if name.exact:
        return reading.words[index] == name.words[0]
    last = index + len(name.words) - 1
    if last >= len(reading.words):
        return False
    for offset, (spelled, lower) in enumerate(zip(name.words, name.lower, strict=True)):
        word = reading.words[index + offset]
        if word != spelled and (reading.lower[index + offset] != lower or word[0].islower()):
            return False
        if offset and not _is_joint(reading.gap(index + offset - 1), name.ampersands[offset - 1]):
            return False
    return True


def _is_joint(gap: str, ampersand: bool) -> bool:
    if ampersand:
        return gap.strip() in {"&", "&amp;", "&#38;"}
    return _JOINT.match(gap) is not None


def _is_marked_as_symbol(reading: _Reading, index: int) -> bool:
    """`NYSE:T`, `(Nasdaq: AAPL)`, `ASH.N`."""
    if reading.word(index - 1) in _EXCHANGES:
        return _EXCHANGE.match(reading.gap(index - 1)) is not None
    return (
        len(reading.words[index]) > 2
        and reading.word(index + 1) in _REUTERS_CODES
        and reading.gap(index) == "."
    )


def _needs_no_sign(rule: Rule | None) -> bool:
    return rule is None or rule.alone


def _believe_neighbours(
    reading: _Reading, candidates: list[_Candidate], believed: list[bool]
) -> None:
    """In a list of companies every name is one: `Tesla, Gap and Delta`."""

    def beside(left: int) -> bool:
        gap_after = candidates[left].last
        return candidates[left + 1].first == gap_after + 1 and bool(
            _LIST.match(reading.gap(gap_after))
        )

    for left in range(len(candidates) - 1):
        if believed[left] and not believed[left + 1]:
            believed[left + 1] = beside(left)
    for left in reversed(range(len(candidates) - 1)):
        if believed[left + 1] and not believed[left]:
            believed[left] = beside(left)
