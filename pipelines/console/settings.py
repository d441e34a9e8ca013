"""How the console is reached and who vouches for its users: the section `[console]`."""

from pathlib import Path

import msgspec

from alerting.errors import ConfigurationError
from pipelines.console.rights import Role


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenID Connect provider. `roles` gives a role to each value of `role_claim`, the first
    that fits; who has none is not let in. The secret comes from the environment
    (`FORESHOCK_CONSOLE__OIDC__CLIENT_SECRET`)."""

    issuer: str
    client_id: str
    client_secret: str
    roles: dict[str, Role]
    role_claim: str = "groups"
    name_claim: str = "preferred_username"
    scope: str = "openid profile"
    label: str = "your organisation's account"

    def __post_init__(self) -> None:
        loopback = self.issuer.startswith(("http://127.0.0.1", "http://localhost"))
        if not self.issuer.startswith("https://") and not loopback:
            raise ConfigurationError(
                f"console.oidc.issuer is {self.issuer!r}: give an https:// one"
            )

    def __repr__(self) -> str:
        return f"OidcSettings(issuer={self.issuer!r}, client_id={self.client_id!r})"


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`hosts`: the names under which browsers ask for it, beside the loopback's. `proxies`: the
    addresses of reverse proxies that end TLS before it. `certificate` and `private_key`: it ends
    TLS itself. A session ends after `idle_minutes` without a request, and after `session_hours` in
    any case. `requests_a_minute`: of one user or key."""

    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    session_hours: float = 12.0
    idle_minutes: float = 60.0
    requests_a_minute: int = 600
    oidc: OidcSettings | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigurationError(
                "console.certificate and console.private_key belong together: give both or neither"
            )
        if min(self.session_hours, self.idle_minutes, self.requests_a_minute) <= 0:
            raise ConfigurationError("console: hours, minutes and requests must be above 0")
