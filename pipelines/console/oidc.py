"""Log-in by an OpenID Connect provider: the code flow with PKCE, its answer checked here.

The browser carries only a state that it was given itself; what belongs to it stays in this process
for some minutes. The provider says who somebody is, `[console.oidc] roles` what he may do.
"""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from pipelines.console.accounts import Accounts, User
from pipelines.console.errors import SignInError
from pipelines.console.rights import Role
from pipelines.console.settings import OidcSettings

STATE_SECONDS = 600

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures only: neither "none", nor a secret that both sides know."""

_MOST_PENDING = 1_000
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Pending:
    """A log-in that has begun."""

    nonce: str
    verifier: str
    redirect: str
    target: str
    until: float


@dataclass
class Provider:
    """One provider; its addresses and keys are asked for when they are needed."""

    settings: OidcSettings
    _pending: dict[str, Pending] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, redirect: str, target: str) -> tuple[str, str]:
        """The address to send the browser to, and the state that it must bring back.

        `redirect`: where the provider sends it; `target`: the page after that. Raises
        `SignInError`.
        """
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        with self._client(redirect) as client:
            try:
                address, state = client.create_authorization_url(
                    self._metadata()["authorization_endpoint"],
                    nonce=nonce,
                    code_verifier=verifier,
                )
            except (httpx.HTTPError, KeyError, ValueError) as error:
                raise SignInError(f"the provider does not answer: {error}") from error
        with self._lock:
            now = time.monotonic()
            kept = {name: one for name, one in self._pending.items() if one.until > now}
            if len(kept) >= _MOST_PENDING:
                raise SignInError("too many log-ins have begun: try again in some minutes")
            kept[state] = Pending(nonce, verifier, redirect, target, now + STATE_SECONDS)
            self._pending = kept
        return address, state

    def finish(self, state: str, code: str, accounts: Accounts) -> tuple[User, str]:
        """Who came back, and the page to show. Raises `AccountError`."""
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or pending.until < time.monotonic():
            raise SignInError("this log-in was not begun here, or too long ago: begin anew")
        try:
            claims = self._claims(code, pending)
        except (httpx.HTTPError, AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            raise SignInError(f"the provider's answer is not valid: {error}") from error
        return self._user(claims, accounts), pending.target

    def _claims(self, code: str, pending: Pending) -> Mapping[str, Any]:
        settings = self.settings
        metadata = self._metadata()
        with self._client(pending.redirect) as client:
            token = client.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=pending.verifier,
            )
        keys = KeySet([import_key(one) for one in _fetched(metadata["jwks_uri"])["keys"]])
        decoded = jwt.decode(token["id_token"], keys, algorithms=_ALGORITHMS)
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": pending.nonce},
            leeway=30,
        ).validate(decoded.claims)
        return decoded.claims

    def _user(self, claims: Mapping[str, Any], accounts: Accounts) -> User:
        settings = self.settings
        given = claims.get(settings.role_claim, [])
        values = {given} if isinstance(given, str) else set(map(str, given))
        role: Role | None = next((settings.roles[v] for v in settings.roles if v in values), None)
        name = claims.get(settings.name_claim)
        if role is None or not isinstance(name, str):
            raise SignInError(
                f"the provider gives you no {settings.role_claim} that may come in here, or no "
                f"{settings.name_claim}: ask your administrator"
            )
        return accounts.vouched(str(claims["sub"]), name, role, issuer=settings.issuer)

    def _client(self, redirect: str) -> OAuth2Client:
        settings = self.settings
        return OAuth2Client(
            settings.client_id,
            settings.client_secret,
            scope=settings.scope,
            redirect_uri=redirect,
            code_challenge_method="S256",
            timeout=_TIMEOUT,
        )

    def _metadata(self) -> dict[str, Any]:
        address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = _fetched(address)
        if found.get("issuer") != self.settings.issuer:
            raise ValueError(f"{address} is of the issuer {found.get('issuer')!r}")
        return found


def _fetched(address: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(address, timeout=_TIMEOUT).raise_for_status().json()
    return found
