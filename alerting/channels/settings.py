"""The settings of channels, checked as they are read; what is secret stands in none of them.

A secret comes from the environment (`secrets.variable`) or from the file that `NAME_file` names.
"""

import re
from email.utils import parseaddr
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from alerting.errors import ConfigurationError

LONGEST_SECONDS = 40.0
"""No channel may wait longer for another side that is silent."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class MailSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="email"
):
    """`sender`: `alerts@example.com` or `Foreshock <alerts@example.com>`. `security`: starttls
    (port 587), tls (465), or none, with which no password is sent. `user`: where the server asks
    for one, with a password (`password_file`)."""

    host: str
    sender: str
    port: int | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 20.0

    def __post_init__(self) -> None:
        checked_seconds(self.timeout_seconds)
        if not is_address(parseaddr(self.sender)[1]) or not self.sender.isprintable():
            raise ConfigurationError(f"sender is {self.sender!r}: write alerts@example.com")
        if self.security == "none" and self.user is not None:
            raise ConfigurationError(
                'security is "none", so the password of `user` would be sent readable by all: '
                "take starttls or tls"
            )

    @property
    def address(self) -> str:
        """The sender's address alone."""
        return parseaddr(self.sender)[1]


class WebhookSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"
):
    """`url`, or `url_file` (or the environment) where the address itself is a secret. The key of
    the signature is a secret too (`secret_file`): several lines are several keys."""

    url: str | None = None
    url_file: Path | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.url is not None:
            checked_url(self.url, "url")
        checked_seconds(self.timeout_seconds)


class ChatSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="apprise"
):
    """The address (`slack://…`, `msteams://…`, `pagerduty://…`) is a secret: `url_file`, or the
    environment."""

    url_file: Path | None = None
    timeout_seconds: float = 20.0

    def __post_init__(self) -> None:
        checked_seconds(self.timeout_seconds)


class AlertmanagerSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="alertmanager"
):
    """`url`: where Alertmanager is, without /api/v2. `user`: for basic authentication, with a
    password (`password_file`). `firing_hours`: how long an alert of which nothing more is heard
    stays firing there. `labels`: added to every alert, for Alertmanager's routes."""

    url: str
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 10.0
    firing_hours: float = 72.0
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        checked_url(self.url, "url")
        checked_seconds(self.timeout_seconds)
        for label in self.labels:
            if _LABEL.fullmatch(label) is None:
                raise ConfigurationError(f"{label!r} in labels cannot be a label of Alertmanager")
        if self.firing_hours <= 0:
            raise ConfigurationError(f"firing_hours is {self.firing_hours:g}: give more than 0")


class GrafanaSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="grafana"
):
    """`url` of Grafana; the token of a service account that may write annotations is a secret
    (`token_file`). `dashboard`: uid of the one that shows them (None: all that ask for the tag
    `foreshock`), `panel`: the id of its panel. `tags`: added."""

    url: str
    token_file: Path | None = None
    dashboard: str | None = None
    panel: int | None = None
    tags: tuple[str, ...] = ()
    ca_file: Path | None = None
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        checked_url(self.url, "url")
        checked_seconds(self.timeout_seconds)


class KafkaTopicSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="kafka"
):
    """`topic`: it must exist. How the brokers are reached is set in [kafka]."""

    topic: str
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        checked_seconds(self.timeout_seconds)


ChannelSettings = (
    MailSettings
    | WebhookSettings
    | ChatSettings
    | AlertmanagerSettings
    | GrafanaSettings
    | KafkaTopicSettings
)
"""What stands in `[channels.NAME]`; `kind` says which."""


def checked_url(url: str, where: str) -> str:
    """`url`, where it is a whole address of HTTP; raises `ConfigurationError`, never naming it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() or not character.isprintable() for character in url):
        raise ConfigurationError(f"{where} is not an address: write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{where} holds a user or a password: set them by themselves")
    return url


def checked_seconds(seconds: float) -> None:
    """Raises `ConfigurationError` for a time-out that is none."""
    if not 0.1 <= seconds <= LONGEST_SECONDS:
        raise ConfigurationError(
            f"timeout_seconds is {seconds:g}: give 0.1 to {LONGEST_SECONDS:g} seconds"
        )


def is_address(text: str) -> bool:
    """Whether `text` is an e-mail address, and nothing but one."""
    return _ADDRESS.fullmatch(text) is not None
