"""Users, their passwords, sessions and API keys, in the store.

Every change, and every log-in, is a row of the ledger, in the transaction that makes it.
"""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import or_, select

from alerting.decisions import MACHINE
from connectors.store import Store, Transaction
from connectors.store.schema import alert_events, api_keys, sessions, users
from pipelines.console.errors import AccountError
from pipelines.console.rights import KEY_SCOPES, PERMISSIONS, Permission, Role
from pipelines.recording import record_fact

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 256
KEY_PREFIX = "fsk"

_NAME = re.compile(r"[^\W_][\w.@+-]{0,63}")
_SEEN_EVERY = timedelta(minutes=1)
_HASHER = PasswordHasher()
_HASHING = threading.BoundedSemaphore(2)  # 64 MiB each: a flood of log-ins must not fill memory
_NOBODY = _HASHER.hash(secrets.token_urlsafe())
"""What an unknown name's password is held against, so that it takes as long as a known one's."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may come in. `name` is what the ledger calls him."""

    name: str
    role: Role
    disabled: bool
    created_at: datetime
    has_password: bool
    subject: str | None

    @property
    def permissions(self) -> frozenset[Permission]:
        """All that the role may do."""
        return PERMISSIONS[self.role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who may come in, over one store. Times are UTC."""

    store: Store
    session_length: timedelta = timedelta(hours=12)
    idle_length: timedelta = timedelta(hours=1)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def users(self) -> list[User]:
        """All of them, by name."""
        return [_user(row) for row in self.store.rows(select(users).order_by(users.c.name))]

    def user(self, name: str) -> User:
        """The user of that name. Raises `AccountError`."""
        return _user(self._row(name))

    def add(self, name: str, role: Role, password: str | None, *, actor: str) -> User:
        """A new user; without a password only OpenID Connect lets him in. Raises `AccountError`."""
        if not _NAME.fullmatch(name) or name == MACHINE:
            raise AccountError(
                f"{name!r} is no name for a user: 1 to 64 letters, digits and . @ + - _, "
                f"not {MACHINE!r}"
            )
        hashed = _hashed(name, password) if password is not None else None
        row = {
            "name": name,
            "role": role.value,
            "password": hashed,
            "subject": None,
            "disabled": False,
            "created_at": self.clock(),
        }
        with self.store.transaction() as tx:
            tx.ledger_end()
            if tx.rows(select(users.c.name).where(users.c.name == name)):
                raise AccountError(f"there is a user {name!r} already: list them to see")
            self._note(tx, "user-added", f"user:{name}", actor, role=role.value)
            tx.upsert("users", [row])
        return _user(row)

    def set_role(self, name: str, role: Role, *, actor: str) -> None:
        """Another role, from the next request on. Raises `AccountError`."""
        self._change(name, {"role": role.value}, "user-role-set", actor, role=role.value)

    def set_password(self, name: str, password: str, *, actor: str) -> None:
        """Another password; all his sessions end. Raises `AccountError`."""
        self._change(name, {"password": _hashed(name, password)}, "user-password-set", actor)

    def disable(self, name: str, *, actor: str) -> None:
        """Lets him in no more; his sessions end and his keys stop. Raises `AccountError`."""
        self._change(name, {"disabled": True}, "user-disabled", actor)

    def enable(self, name: str, *, actor: str) -> None:
        """Lets him in again. Raises `AccountError`."""
        self._change(name, {"disabled": False}, "user-enabled", actor)

    def check_password(self, name: str, password: str) -> User | None:
        """The user, where the password is his and he may come in."""
        found = self.store.rows(select(users).where(users.c.name == name))
        row = found[0] if found else None
        stored = row["password"] if row else None
        try:
            with _HASHING:
                _HASHER.verify(stored or _NOBODY, password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return None
        return _user(row) if row and stored and not row["disabled"] else None

    def vouched(self, subject: str, name: str, role: Role, *, issuer: str) -> User:
        """The user whom an OpenID Connect provider vouches for, added at his first visit.

        Raises `AccountError` where he is disabled, or another user has that name already.
        """
        identity = f"{issuer} {subject}"
        found = self.store.rows(select(users).where(users.c.subject == identity))
        if not found:
            self.add(name, role, None, actor=issuer)
            self._change(name, {"subject": identity}, "user-bound", issuer, identity=identity)
            return self.user(name)
        user = _user(found[0])
        if user.disabled:
            raise AccountError(f"{user.name} is disabled")
        if user.role != role:
            self.set_role(user.name, role, actor=issuer)
        return self.user(user.name)

    def open_session(self, user: User, *, address: str) -> str:
        """A fresh token for a cookie, whatever the browser sent before."""
        token, now = secrets.token_urlsafe(32), self.clock()
        row = {
            "id": _digest(token),
            "user_name": user.name,
            "created_at": now,
            "seen_at": now,
        }
        with self.store.transaction() as tx:
            self._note(tx, "logged-in", f"user:{user.name}", user.name, address=address)
            tx.end_sessions(sessions.c.created_at < now - self.session_length)
            tx.upsert("sessions", [row])
        return token

    def session(self, token: str) -> User | None:
        """Whose session it is, while it lasts."""
        query = (
            select(users, sessions.c.created_at.label("opened_at"), sessions.c.seen_at)
            .join(sessions, sessions.c.user_name == users.c.name)
            .where(sessions.c.id == _digest(token))
        )
        found = self.store.rows(query)
        if not found or found[0]["disabled"]:
            return None
        row, now = found[0], self.clock()
        if now - row["opened_at"] > self.session_length or now - row["seen_at"] > self.idle_length:
            return None
        if now - row["seen_at"] > _SEEN_EVERY:
            self._seen(token, row, now)
        return _user(row)

    def end_session(self, token: str) -> None:
        """The cookie opens nothing more."""
        with self.store.transaction() as tx:
            tx.ledger_end()
            mine = sessions.c.id == _digest(token)
            for row in tx.rows(select(sessions.c.user_name).where(mine)):
                self._note(tx, "logged-out", f"user:{row['user_name']}", row["user_name"])
            tx.end_sessions(mine)

    def refused(self, name: str, *, address: str) -> None:
        """Notes that somebody did not get in by that name."""
        self._turned_away("log-in-refused", name, address)

    def throttled(self, name: str, *, address: str) -> None:
        """Notes that somebody tried so often that he was not even looked at."""
        self._turned_away("log-in-throttled", name, address)

    def _turned_away(self, event: str, name: str, address: str) -> None:
        """A name that nobody has is not kept: it may be a password, typed in its place."""
        with self.store.transaction() as tx:
            tx.ledger_end()
            known = tx.rows(select(users.c.name).where(users.c.name == name))
            subject = f"user:{name}" if known else "user"
            self._note(tx, event, subject, MACHINE, address=address)

    def add_key(
        self, user: User, label: str, scopes: Collection[Permission], expires_at: datetime | None
    ) -> str:
        """A new API key: shown once, kept as a hash. Raises `AccountError`."""
        label = label.strip()
        if not 1 <= len(label) <= 64:
            raise AccountError(f"the key's label has {len(label)} characters: give 1 to 64")
        if not scopes or not set(scopes) <= user.permissions & KEY_SCOPES:
            raise AccountError(
                f"a key of {user.name} may have some of the scopes "
                f"{', '.join(sorted(user.permissions & KEY_SCOPES))}"
            )
        if expires_at is not None and expires_at <= self.clock():
            raise AccountError(f"{expires_at:%Y-%m-%d} is past: give a day to come")
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = {
            "id": key_id,
            "secret": _digest(secret),
            "user_name": user.name,
            "label": label,
            "scopes": sorted(scopes),
            "created_at": self.clock(),
            "expires_at": expires_at,
            "revoked_at": None,
        }
        with self.store.transaction() as tx:
            self._note(tx, "key-made", f"key:{key_id}", user.name, scopes=row["scopes"])
            tx.upsert("api_keys", [row])
        return f"{KEY_PREFIX}_{key_id}_{secret}"

    def keys(self, user: User) -> list[dict[str, Any]]:
        """His keys, the newest first, without what opens."""
        columns = [column for column in api_keys.c if column.name != "secret"]
        query = select(*columns).where(api_keys.c.user_name == user.name)
        return self.store.rows(query.order_by(api_keys.c.created_at.desc(), api_keys.c.id))

    def revoke_key(self, user: User, key_id: str) -> None:
        """The key opens nothing more. Raises `AccountError` where it is not his."""
        with self.store.transaction() as tx:
            tx.ledger_end()
            wanted = (api_keys.c.id == key_id) & (api_keys.c.user_name == user.name)
            found = tx.rows(select(api_keys).where(wanted))
            if not found:
                raise AccountError("you have no such key")
            self._note(tx, "key-revoked", f"key:{key_id}", user.name)
            tx.upsert("api_keys", [{**found[0], "revoked_at": self.clock()}])

    def key(self, given: str) -> tuple[User, frozenset[Permission]] | None:
        """Whose key it is and what it may do now: its scopes, and no more than his role."""
        prefix, _, rest = given.partition("_")
        key_id, _, secret = rest.partition("_")
        query = (
            select(users, api_keys.c.secret, api_keys.c.scopes)
            .join(api_keys, api_keys.c.user_name == users.c.name)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .where((api_keys.c.expires_at.is_(None)) | (api_keys.c.expires_at > self.clock()))
        )
        found = self.store.rows(query) if prefix == KEY_PREFIX and key_id.isalnum() else []
        if not found or found[0]["disabled"]:
            return None
        if not hmac.compare_digest(_digest(secret), found[0]["secret"]):
            return None
        user = _user(found[0])
        return user, frozenset(map(Permission, found[0]["scopes"])) & user.permissions

    def events(self, limit: int) -> list[dict[str, Any]]:
        """What the ledger says of accounts, the newest first."""
        subject = alert_events.c.subject
        of_accounts = or_(subject == "user", subject.like("user:%"), subject.like("key:%"))
        query = select(alert_events).where(subject.is_not(None), of_accounts)
        return self.store.rows(query.order_by(alert_events.c.sequence.desc()).limit(limit))

    def _row(self, name: str) -> dict[str, Any]:
        found = self.store.rows(select(users).where(users.c.name == name))
        if not found:
            raise AccountError(f"there is no user {name!r}: foreshock users list shows them")
        return found[0]

    def _change(
        self, name: str, values: dict[str, Any], event: str, actor: str, **details: Any
    ) -> None:
        self._row(name)
        with self.store.transaction() as tx:
            self._note(tx, event, f"user:{name}", actor, **details)
            tx.set_user(name, values)
            if values.keys() & {"password", "disabled"}:
                tx.end_sessions(sessions.c.user_name == name)

    def _seen(self, token: str, row: dict[str, Any], now: datetime) -> None:
        seen = {
            "id": _digest(token),
            "user_name": row["name"],
            "created_at": row["opened_at"],
            "seen_at": now,
        }
        with self.store.transaction() as tx:
            # It may have ended meanwhile: what a log-out removed must not come back.
            if tx.rows(select(sessions.c.id).where(sessions.c.id == seen["id"])):
                tx.upsert("sessions", [seen])

    def _note(self, tx: Transaction, event: str, subject: str, actor: str, **details: Any) -> None:
        record_fact(tx, event, subject, actor=actor, now=self.clock(), **details)


def csrf_token(session: str) -> str:
    """What a form of that session must carry: only its pages know it."""
    return hmac.digest(session.encode(), b"foreshock csrf", "sha256").hex()


def scopes(names: Iterable[str]) -> list[Permission]:
    """The permissions of those names. Raises `AccountError`."""
    try:
        return [Permission(name) for name in names]
    except ValueError as error:
        raise AccountError(f"{error}: take {', '.join(sorted(KEY_SCOPES))}") from error


def _user(row: dict[str, Any]) -> User:
    return User(
        name=row["name"],
        role=Role(row["role"]),
        disabled=bool(row["disabled"]),
        created_at=row["created_at"],
        has_password=row["password"] is not None,
        subject=row["subject"],
    )


def _hashed(name: str, password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountError(
            f"the password has {len(password)} characters: give {SHORTEST_PASSWORD} to "
            f"{LONGEST_PASSWORD}; a few words that do not belong together are good"
        )
    if len(set(password)) < 5 or name.casefold() in password.casefold():
        raise AccountError("the password is easy to guess: it repeats itself, or holds the name")
    with _HASHING:
        return _HASHER.hash(password)


def _digest(token: str) -> str:
    """SHA-256: enough for secrets of 256 random bits, which nobody can try out."""
    return hashlib.sha256(token.encode()).hexdigest()
