"""What every request needs of the running console."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from connectors.store import Store
from pipelines.configuration import Configuration
from pipelines.console.accounts import Accounts
from pipelines.console.limits import RateLimit
from pipelines.console.oidc import Provider
from pipelines.console.settings import ConsoleSettings
from pipelines.console.verification import Verifier


@dataclass
class Streams:
    """How many are open; a context manager that is one of them."""

    count: int = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_error: object) -> None:
        self.count -= 1


@dataclass(frozen=True, kw_only=True)
class Console:
    """One running console. `secure`: browsers reach it by TLS. `notice`: a line on every page."""

    store: Store
    accounts: Accounts
    configuration: Configuration
    verifier: Verifier
    secure: bool
    notice: str | None = None
    requests: RateLimit
    strangers: RateLimit = field(default_factory=lambda: RateLimit(burst=60, seconds=1))
    """Of one address, requests that nobody answers for."""
    log_ins: RateLimit = field(default_factory=lambda: RateLimit(burst=5, seconds=30))
    """Of one name from one address, log-ins that failed."""
    log_ins_address: RateLimit = field(default_factory=lambda: RateLimit(burst=30, seconds=10))
    """Of one address, log-ins that failed."""
    log_ins_name: RateLimit = field(default_factory=lambda: RateLimit(burst=50, seconds=20))
    """Of one name, log-ins that failed: many, so that nobody can lock another one out."""

    throttled: RateLimit = field(default_factory=lambda: RateLimit(burst=1, seconds=60))
    """Of one address, how often the ledger says that its log-ins are not looked at."""

    provider: Provider | None = None
    streams: Streams = field(default_factory=Streams)

    @property
    def settings(self) -> ConsoleSettings:
        """The section `[console]`."""
        return self.configuration.console

    @property
    def reasons(self) -> Sequence[str]:
        """What an alert may be disposed of as."""
        return self.configuration.decisions.reasons

    @property
    def cookie(self) -> str:
        """The session cookie's name; with the prefix no other host can set it."""
        return "__Host-foreshock" if self.secure else "foreshock"

    @staticmethod
    def now() -> datetime:
        """The clock, UTC."""
        return datetime.now(UTC)


def console(request: Request) -> Console:
    """The console that the request came to."""
    found: Console = request.app.state.console
    return found


def address(request: Request) -> str:
    """Where the request came from."""
    return request.client.host if request.client else "unknown"


In = Annotated[Console, Depends(console)]
