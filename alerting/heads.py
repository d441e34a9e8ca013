"""Heads of the ledger, kept outside it, and their Ed25519 signatures.

Whoever can write the database can compute the whole chain anew. A head that lies where he cannot
write shows it; a signed head shows it even where he can write the head, but not sign.
"""

import os
import stat
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alerting.errors import ConfigurationError, KeyFileError, LedgerError
from alerting.ledger import Point, canonical

PRIVATE_KEY, PUBLIC_KEY = "foreshock-ledger.key", "foreshock-ledger.pub"
_PURPOSE = "foreshock ledger head"  # so that no other signature by the key can pass for a head's
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class HeadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where signed heads go: behind those of a `file`, to `channels` by their names (webhooks and
    Kafka topics); every so many `minutes`, and at the end of every run. `key_file`: the private key
    that signs them (alerts keygen)."""

    key_file: Path | None = None
    minutes: float = 60.0
    file: Path | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ConfigurationError(f"heads.minutes is {self.minutes:g}: give more than 0")
        if self.wanted and self.key_file is None:
            raise ConfigurationError("heads.key_file is not set: make a key with alerts keygen")

    @property
    def wanted(self) -> bool:
        """Whether heads go anywhere."""
        return self.file is not None or bool(self.channels)


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in the chain; `signature` is 128 hexadecimal digits, None where it is unsigned."""

    schema: int = 1
    sequence: int
    hash: str
    signature: str | None = None

    @property
    def point(self) -> Point:
        """Where the chain must pass."""
        return Point(self.sequence, self.hash)

    @property
    def id(self) -> str:
        """The idempotency key: the same whenever and wherever it is sent."""
        return f"head-{self.sequence}-{self.hash[:16]}"


def sign(point: Point, key: Ed25519PrivateKey | None) -> Head:
    """The head at this place, signed where there is a key."""
    head = Head(sequence=point.sequence, hash=point.hash)
    if key is None:
        return head
    return msgspec.structs.replace(head, signature=key.sign(_signed(head)).hex())


def check(head: Head, key: Ed25519PublicKey) -> str | None:
    """What is wrong with the head's signature under this key; None where it is good."""
    if head.signature is None:
        return "the head is not signed"
    try:
        key.verify(bytes.fromhex(head.signature), _signed(head))
    except (InvalidSignature, ValueError):
        return "the head's signature is not by this key, or the head was changed"
    return None


def encoded(head: Head) -> bytes:
    """One line of JSON by `docs/schemas/head.v1.json`, as files hold it and channels carry it."""
    return msgspec.json.encode(head)


def add_head(path: Path, head: Head) -> None:
    """Writes the head behind those that the file holds, and onto the disk. Raises `LedgerError`."""
    try:
        with path.open("ab") as file:
            file.write(encoded(head) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerError(f"the head {path} cannot be written: {error.strerror}") from error


def read_heads(path: Path) -> list[Head]:
    """The heads of a file, one a line. Raises `LedgerError`, also where there is none."""
    try:
        heads = [
            msgspec.json.decode(line, type=Head)
            for line in path.read_bytes().splitlines()
            if line.strip()
        ]
    except OSError as error:
        raise LedgerError(f"the head {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} is not a head of a ledger: {error}") from error
    if not heads:
        raise LedgerError(f"{path} holds no head of a ledger")
    for head in heads:
        if head.schema != 1:
            raise LedgerError(f"the head {path} is of schema {head.schema}, this version knows 1")
    return heads


def generate(folder: Path) -> tuple[Path, Path]:
    """Makes a key pair in the folder; returns the paths of the private and the public key.

    Raises `KeyFileError`: keys that are there are never replaced.
    """
    key = Ed25519PrivateKey.generate()
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for path in (private, public):
        if path.exists():
            raise KeyFileError(f"{path} is there already: give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _create(private, encoded, 0o600)
        _create(public, shown, 0o644)
    except FileExistsError as error:
        raise KeyFileError(f"{error.filename} is there already: give another folder") from error
    except OSError as error:
        raise KeyFileError(f"no key can be written to {folder}: {error.strerror}") from error
    return private, public


def load_private(path: Path) -> Ed25519PrivateKey:
    """Raises `KeyFileError` for a file that others may read or that holds no such key."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise KeyFileError(
                    f"others than you may read the key {path}: make it yours with chmod 600"
                )
            payload = file.read()
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}") from error
    try:
        key = serialization.load_pem_private_key(payload, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no unencrypted private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"the key {path} is not for Ed25519: make one with alerts keygen")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Raises `KeyFileError`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"the key {path} is not for Ed25519: make one with alerts keygen")
    return key


def _signed(head: Head) -> bytes:
    return canonical([_PURPOSE, head.schema, head.sequence, head.hash])


def _create(path: Path, payload: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(payload)
