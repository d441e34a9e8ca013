"""How Kafka is reached. Secrets are read when a connection is opened, and held in no setting."""

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from connectors.errors import KafkaSettingsError

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

PASSWORD_VARIABLE = "FORESHOCK_KAFKA_PASSWORD"  # noqa: S105 (its name)
KEY_PASSWORD_VARIABLE = "FORESHOCK_KAFKA_KEY_PASSWORD"  # noqa: S105 (its name)

_SCHEME = "kafka://"
_LEAST_SECONDS = 0.1
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})")


class TopicNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The topics of a live job; `dead_letters` is named after the topic it belongs to."""

    messages: str = "messages"
    tagged: str = "tagged"
    buckets: str = "buckets"
    spikes: str = "spikes"
    dead_letters: str = "messages.dlq"


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`brokers`: HOST:PORT, several with commas. `mechanism`, `user`: for SASL. `ca_file`: the
    authority that signed the broker's certificate, PEM (None: those that the system trusts);
    `certificate_file`, `key_file`: our own, PEM, where the broker asks for them.

    The password of SASL comes from the environment (FORESHOCK_KAFKA_PASSWORD) or from
    `password_file`, that of the key from FORESHOCK_KAFKA_KEY_PASSWORD or `key_password_file`.
    `connect_seconds`: how long the first connection may take; `stall_seconds`: how long the broker
    may be silent or away, before we give up. A live job lets a partition that is silent for
    `idle_seconds` follow the others, and looks for new ones every `look_seconds`. Raises
    KafkaSettingsError for what does not fit.
    """

    brokers: str = "localhost:9092"
    security: Security = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    connect_seconds: float = 10.0
    stall_seconds: float = 120.0
    idle_seconds: float = 10.0
    look_seconds: float = 30.0
    topics: TopicNames = TopicNames()

    def __post_init__(self) -> None:
        for address in self.addresses:
            match = _HOST_PORT.fullmatch(address)
            if match is None or not 0 < int(match[2]) < 1 << 16:
                raise KafkaSettingsError(
                    f"{_masked(address)!r} is not the address of a broker: write HOST:PORT"
                )
        for name in ("connect_seconds", "stall_seconds", "idle_seconds", "look_seconds"):
            if getattr(self, name) < _LEAST_SECONDS:
                raise KafkaSettingsError(f"{name} in [kafka] must be {_LEAST_SECONDS} or more")
        if self.uses_sasl and not self.user:
            raise KafkaSettingsError(f"{self.security} needs a user: set `user` in [kafka]")
        if self.user and not self.uses_sasl:
            raise KafkaSettingsError(
                f"a user is given, but {self.security} knows none: set `security` in [kafka] to "
                "SASL_SSL or SASL_PLAINTEXT"
            )

    @property
    def addresses(self) -> list[str]:
        return [address.strip() for address in self.brokers.split(",")]

    @property
    def uses_sasl(self) -> bool:
        return self.security.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        return self.security.endswith("SSL")

    @property
    def who(self) -> str:
        """The client as the broker sees it, for messages to people."""
        return f"the user {self.user!r}" if self.uses_sasl else "this client"

    def password(self) -> str | None:
        """The password of SASL; raises KafkaSettingsError where it is needed and not there."""
        if not self.uses_sasl:
            return None
        found = _secret(PASSWORD_VARIABLE, self.password_file)
        if not found:
            raise KafkaSettingsError(
                f"the password of {self.who} is not set: put it into {PASSWORD_VARIABLE}, or into "
                "a file that `password_file` in [kafka] names"
            )
        return found

    def key_password(self) -> str | None:
        """The password of our own key, None where it has none."""
        return _secret(KEY_PASSWORD_VARIABLE, self.key_password_file)


class KafkaAddress(NamedTuple):
    """What `kafka://HOST:PORT/TOPIC` names."""

    brokers: str
    topic: str


def is_address(text: str) -> bool:
    """Whether `text` is meant as the address of a topic."""
    return text.startswith(_SCHEME)


def parse_address(text: str) -> KafkaAddress:
    """`kafka://HOST:PORT[,HOST:PORT…]/TOPIC`; raises KafkaSettingsError."""
    brokers, _, topic = text.removeprefix(_SCHEME).partition("/")
    if "@" in brokers:
        raise KafkaSettingsError(
            f"{_masked(text)} names a user: set `user` in [kafka], and its password in "
            f"{PASSWORD_VARIABLE}, so that it shows in no list of processes"
        )
    if not (is_address(text) and brokers and topic):
        raise KafkaSettingsError(f"{text!r} is not the address of a topic: kafka://HOST:PORT/TOPIC")
    return KafkaAddress(brokers, checked_topic(topic))


def checked_topic(name: str) -> str:
    """`name`, where Kafka allows it for a topic; else raises KafkaSettingsError."""
    if _TOPIC.fullmatch(name) is None or name in (".", ".."):
        raise KafkaSettingsError(
            f"{name!r} cannot be the name of a topic: letters, digits, '.', '_' and '-', at most "
            "249 of them"
        )
    return name


def _masked(text: str) -> str:
    """`text` without what stands before an @, which may be a password."""
    before, at, after = text.rpartition("@")
    return f"{_SCHEME if is_address(before) else ''}***@{after}" if at else text


class _Secret(str):
    """Text that does not show in a dump of settings: the library logs its own, to debug."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _secret(variable: str, file: Path | None) -> str | None:
    if value := os.environ.get(variable):
        return _Secret(value)
    if file is None:
        return None
    try:
        return _Secret(file.read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaSettingsError(f"the secret in {file} cannot be read: {error}") from error
