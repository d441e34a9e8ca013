"""The rules file while the process runs: read again when it changes, every version kept."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from alerting.errors import ConfigurationError
from alerting.routing import Router
from alerting.rules import Rules, parse
from connectors.store import Store
from models.entities import Recogniser
from models.tags import TOPICS


def read_rules(path: Path, channels: Collection[str]) -> tuple[Rules, str, bytes]:
    """The rules of a file, their hash and their text. `channels`: the names of those configured.

    Raises `ConfigurationError`, whose one sentence names the file.
    """
    try:
        payload = path.read_bytes()
        rules, version = parse(payload)
    except OSError as error:
        raise ConfigurationError(f"The rules {path} cannot be read: {error.strerror}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"The rules {path} cannot be used: {error}") from error
    if unknown := sorted(rules.channels - set(channels)):
        raise ConfigurationError(
            f"The rules {path} name the channel {unknown[0]!r}; configured are: "
            f"{', '.join(sorted(channels)) or 'none'}. Add it under [channels.{unknown[0]}]."
        )
    known = {"topic": set(TOPICS), "sector": set(sectors().values())}
    for kind, names in known.items():
        named = {name for one in rules.about for name in getattr(one, f"{kind}s")}
        if unknown := sorted(named - names):
            raise ConfigurationError(
                f"The rules {path} name the {kind} {unknown[0]!r}; there are: "
                f"{', '.join(sorted(names))}."
            )
    return rules, version, payload


def sectors() -> dict[str, str]:
    """Company -> its sector, for those that have one."""
    companies = Recogniser.default().table.companies.values()
    return {company.entity: company.sector for company in companies if company.sector}


@dataclass
class RulesFile:
    """`router`: the version that holds. Raises `ConfigurationError` for a file that is wrong from
    the start; one that becomes wrong later is `refused`, in a sentence, and the old one holds."""

    path: Path
    channels: Collection[str]
    router: Router = field(init=False)
    refused: str | None = None
    _text: bytes = field(init=False)
    _seen: tuple[int, int, int] | None = None
    _stored: str | None = None

    def __post_init__(self) -> None:
        self._seen = self._look()
        rules, version, self._text = read_rules(self.path, self.channels)
        self.router = Router(rules, version, sectors())

    def refresh(self, store: Store, now: datetime) -> bool:
        """Reads the file where it has changed, and keeps the version that holds in the store.

        Returns whether something is to be said: another version holds, or one was refused.
        """
        seen = self._look()
        changed = seen != self._seen
        if changed:
            self._seen = seen
            self._read()
        if self._stored != self.router.version:
            row = {"id": self.router.version, "text": self._text.decode(), "recorded_at": now}
            with store.transaction() as tx:
                tx.upsert("rule_versions", [row])
            self._stored = self.router.version
        return changed

    def _read(self) -> None:
        try:
            rules, version, self._text = read_rules(self.path, self.channels)
        except ConfigurationError as error:
            self.refused = str(error)
            return
        self.refused = None
        self.router = Router(rules, version, self.router.sectors)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
