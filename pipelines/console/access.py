"""Who asks, and whether he may: a dependency of every route, on pages and in the API.

A page knows its reader by his session's cookie, and a form proves by a token that it came from one
of the session's own pages. The API takes keys, and the cookie for reading alone: what a foreign
page makes a browser send can read nothing, and change nothing.
"""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Form, Request

from pipelines.console.accounts import User, csrf_token
from pipelines.console.context import Console, address, console
from pipelines.console.errors import AccountError
from pipelines.console.rights import Permission

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Refused(Exception):
    """An answer that is no answer: its status and one sentence; `wait` in seconds."""

    def __init__(self, status: int, detail: str, wait: float = 0.0) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.wait = wait


class LogInFirst(Exception):
    """A page that only shows itself to those it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and what this request may do. `session`: the cookie's token, if it was that."""

    user: User
    permissions: frozenset[Permission]
    session: str | None = None

    def may(self, permission: str) -> bool:
        """Whether he may; for templates too, which name it."""
        return Permission(permission) in self.permissions

    @property
    def csrf(self) -> str:
        """What his forms carry."""
        return csrf_token(self.session or "")


@dataclass(frozen=True, slots=True)
class Page:
    """Lets a session's reader see a page."""

    permission: Permission | None

    def __call__(self, request: Request) -> Caller:
        return self.caller(request)

    def caller(self, request: Request) -> Caller:
        """Who asks. Raises `LogInFirst` or `Refused`."""
        found = by_session(request)
        if found is None:
            raise LogInFirst
        return allowed(console(request), found, self.permission)


@dataclass(frozen=True, slots=True)
class Action(Page):
    """Lets a session's reader do something by a form of his own pages."""

    def __call__(self, request: Request, csrf: Annotated[str, Form()] = "") -> Caller:
        found = self.caller(request)
        # Compared as bytes: a string that is not ASCII would raise.
        if not hmac.compare_digest(csrf.encode("utf-8", "replace"), found.csrf.encode()):
            raise Refused(403, "This form is not from your session: open the page again.")
        return found


@dataclass(frozen=True, slots=True)
class Api:
    """Lets a key, or for reading a session, use the API."""

    permission: Permission

    def __call__(self, request: Request) -> Caller:
        here = console(request)
        found = _by_key(request, here)
        if found is None and request.method in SAFE_METHODS:
            found = by_session(request)
        if found is None:
            wait = here.strangers.take(address(request))
            if wait:
                raise Refused(429, "Too many requests without a valid key.", wait)
            raise Refused(401, "Give an API key: Authorization: Bearer fsk_…")
        return allowed(here, found, self.permission)


def by_session(request: Request) -> Caller | None:
    """Whose session the cookie is, if any."""
    here = console(request)
    token = request.cookies.get(here.cookie)
    user = here.accounts.session(token) if token else None
    if user is None:
        return None
    return Caller(user=user, permissions=user.permissions, session=token)


def allowed(here: Console, caller: Caller, permission: Permission | None) -> Caller:
    """The caller, if he may and does not ask too often. Raises `Refused`."""
    wait = here.requests.take(caller.user.name)
    if wait:
        raise Refused(429, "Too many requests: slow down.", wait)
    if permission is not None and permission not in caller.permissions:
        raise Refused(403, f"This needs the right to {permission}, which {caller.user.role} lacks.")
    return caller


def log_in(here: Console, name: str, password: str, source: str) -> User:
    """The user of that name and password. Raises `AccountError`, or `Refused` after many tries."""
    buckets = (
        (here.log_ins, f"{name} {source}"),
        (here.log_ins_address, source),
        (here.log_ins_name, name),
    )
    wait = max(bucket.wait(key) for bucket, key in buckets)
    if wait:
        if not here.throttled.take(source):
            here.accounts.throttled(name, address=source)
        raise Refused(429, "Too many log-ins that failed: wait a little.", wait)
    user = here.accounts.check_password(name, password)
    if user is not None:
        return user
    for bucket, key in buckets:
        bucket.take(key)
    here.accounts.refused(name, address=source)
    raise AccountError("Name or password is wrong, or the user is disabled.")


def _by_key(request: Request, here: Console) -> Caller | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    found = here.accounts.key(given.strip()) if scheme.lower() == "bearer" else None
    return Caller(user=found[0], permissions=found[1]) if found else None
