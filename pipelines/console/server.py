"""Runs the console: opens the store, and answers until it is stopped."""

import gc
import secrets
from dataclasses import dataclass
from datetime import timedelta

import uvicorn

from connectors.store import Store
from pipelines.configuration import Configuration, ConfigurationError
from pipelines.console.accounts import Accounts
from pipelines.console.app import build
from pipelines.console.context import Console
from pipelines.console.limits import RateLimit
from pipelines.console.oidc import Provider
from pipelines.console.rendering import assets
from pipelines.console.rights import Role
from pipelines.console.shield import LOOPBACK
from pipelines.console.verification import Verifier
from pipelines.naming import display_name

DEMO_USER = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the console listens."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK


def accounts(store: Store, configuration: Configuration) -> Accounts:
    """The users of a store, as the section `[console]` lets them in."""
    settings = configuration.console
    return Accounts(
        store=store,
        session_length=timedelta(hours=settings.session_hours),
        idle_length=timedelta(minutes=settings.idle_minutes),
    )


def console(
    store: Store, configuration: Configuration, address: Address, notice: str | None = None
) -> Console:
    """The console over an open store.

    Raises `ConfigurationError` where passwords would go over a network in clear.
    """
    settings = configuration.console
    secure = settings.certificate is not None or bool(settings.proxies)
    if not secure and not address.loopback:
        raise ConfigurationError(
            f"{address.host} can be reached from other machines, so passwords must not go in "
            "clear: set certificate and private_key in [console], or proxies where a reverse "
            "proxy ends TLS"
        )
    rate = settings.requests_a_minute
    return Console(
        store=store,
        accounts=accounts(store, configuration),
        configuration=configuration,
        verifier=Verifier(store),
        secure=secure,
        notice=notice,
        provider=Provider(settings.oidc) if settings.oidc else None,
        requests=RateLimit(burst=rate, seconds=60 / rate),
    )


def demo_password(found: Accounts) -> str:
    """A fresh password of the demo's user, who is made where there is none."""
    password = secrets.token_urlsafe(12)
    if any(user.name == DEMO_USER for user in found.users()):
        found.set_password(DEMO_USER, password, actor="foreshock console --demo")
    else:
        found.add(DEMO_USER, Role.COMPLIANCE, password, actor="foreshock console --demo")
    return password


def serve(running: Console, address: Address) -> None:
    """Answers until the process is told to stop."""
    settings = running.settings
    # Before the first request asks for them: the companies' names, and the files of the pages.
    display_name("entity:")
    assets()
    gc.collect()
    gc.freeze()  # else, now and then, a request waits while all that was imported is looked through
    uvicorn.run(
        build(running),
        host=address.host,
        port=address.port,
        log_config=None,  # ours holds
        log_level="warning",
        server_header=False,
        # Only a proxy that is named may say where a request came from.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies) or "",
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        timeout_graceful_shutdown=3,
    )
