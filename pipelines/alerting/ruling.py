"""The rules file while the process runs: read again when it changes, every version kept, and in
force when it may be."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from alerting.approval import in_force
from alerting.errors import ConfigurationError
from alerting.routing import Router
from alerting.rules import Rules, parse, version_of
from connectors.store import Store
from models.entities import Company, Recogniser
from models.tags import TOPICS
from pipelines.alerting.approving import note_seen, put_in_force, text_of, versions

_NEAREST = 3
_A_NAME = 3  # letters from which on it may be the beginning of a company's name


def read_rules(path: Path, channels: Collection[str]) -> tuple[Rules, str, bytes]:
    """The rules of a file, their hash and their text. `channels`: the names of those configured.

    Raises `ConfigurationError`, whose one sentence names the file.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The rules {path} cannot be read: {error.strerror}") from error
    return (*checked_rules(payload, f"The rules {path}", channels), payload)


def checked_rules(payload: bytes, what: str, channels: Collection[str]) -> tuple[Rules, str]:
    """The rules of a text, and their hash. Raises `ConfigurationError`, which begins with `what`
    it is."""
    try:
        rules, version = parse(payload)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what} cannot be used: {error}") from error
    if unknown := sorted(rules.channels - set(channels)):
        raise ConfigurationError(
            f"{what} name the channel {unknown[0]!r}; configured are: "
            f"{', '.join(sorted(channels)) or 'none'}. Add it under [channels.{unknown[0]}]."
        )
    known = {"topic": set(TOPICS), "sector": set(sectors().values())}
    for kind, names in known.items():
        for whose, one in rules.about:
            if unknown := sorted(set(getattr(one, f"{kind}s")) - names):
                raise ConfigurationError(
                    f"{what} name the {kind} {unknown[0]!r} in {whose}; there are: "
                    f"{', '.join(sorted(names))}."
                )
    return rules, version


def doubts(rules: Rules) -> list[str]:
    """A sentence for each entity that is named and no company of the table has. It may be right:
    messages can bring entities of their own."""
    companies = Recogniser.default().table.companies.values()
    symbols = {company.entity for company in companies}
    return [
        f"{whose[:1].upper()}{whose[1:]} names the entity {entity!r}, which no company of the "
        f"table has{_nearest(entity, companies)}. It is right only where messages bring it "
        "themselves."
        for whose, one in rules.about
        for entity in one.entities
        if entity not in symbols
    ]


def _nearest(entity: str, companies: Collection[Company]) -> str:
    """The symbols that may be meant, if there are any: by symbol, or by the company's name."""
    wanted = entity.upper()
    symbols = {company.entity: company.entity for company in companies}
    names = {company.name.upper(): company.entity for company in companies}
    begun = [name for name in names if name.startswith(wanted) and len(wanted) >= _A_NAME]
    found = dict.fromkeys(
        (symbols | names)[one]
        for one in (*sorted(begun, key=len), *difflib.get_close_matches(wanted, symbols))
    )
    return f"; nearest: {', '.join(list(found)[:_NEAREST])}" if found else ""


def sectors() -> dict[str, str]:
    """Company -> its sector, for those that have one."""
    companies = Recogniser.default().table.companies.values()
    return {company.entity: company.sector for company in companies if company.sector}


@dataclass
class RulesFile:
    """`router`: the version that holds. Raises `ConfigurationError` for a file that is wrong from
    the start; one that becomes wrong later is `refused`, in a sentence, and the old one holds. So
    it does while a changed file waits for approval: `waits` says for which version."""

    path: Path
    channels: Collection[str]
    router: Router = field(init=False)
    refused: str | None = None
    waits: str | None = None
    _text: bytes = field(init=False)
    _seen: tuple[int, int, int] | None = None
    _settled: bool = False

    def __post_init__(self) -> None:
        self._seen = self._look()
        rules, version, self._text = read_rules(self.path, self.channels)
        self.router = Router(rules, version, sectors())

    def refresh(self, store: Store, now: datetime) -> bool:
        """Reads the file where it has changed, and brings it into force if it may be: where the
        rules in force want a second person, not before one has approved it.

        Returns whether something is to be said: another version holds, waits, or was refused.
        """
        seen = self._look()
        changed = seen != self._seen
        if changed:
            self._seen = seen
            if self._read():
                self._settled = False
            elif self.waits:
                self.waits, self._settled = None, True
        if self._settled:
            return changed
        before = self.waits
        self._settle(store, now)
        return changed or self.waits != before

    def _read(self) -> bool:
        """Whether the file can be used."""
        try:
            _, _, self._text = read_rules(self.path, self.channels)
        except ConfigurationError as error:
            self.refused = str(error)
            return False
        self.refused = None
        return True

    def _settle(self, store: Store, now: datetime) -> None:
        version = version_of(self._text)
        if self.waits == version and versions(store.rows)[version].state != "approved":
            return
        with store.transaction() as tx:
            self._settled = put_in_force(tx, self._text, now)
            if not self._settled:
                note_seen(tx, self._text, now)
        self.waits = None if self._settled else version
        holds = self._text if self._settled else self._in_force(store)
        if version_of(holds) != self.router.version:
            rules, version = checked_rules(holds, "The rules in force", self.channels)
            self.router = Router(rules, version, self.router.sectors)

    def _in_force(self, store: Store) -> bytes:
        holding = in_force(versions(store.rows))
        return text_of(store.rows, holding.id) if holding else self._text

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
