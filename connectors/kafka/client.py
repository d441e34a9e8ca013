"""Connections to Kafka, and what goes wrong with them in words for people."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    CorruptRecordError,
    KafkaError,
    RetriableError,
    UnsupportedCodecError,
)

from connectors.errors import BrokerAway, BrokerError, KafkaSettingsError
from connectors.kafka.settings import KafkaSettings

# Below WARNING the library logs each step, at DEBUG each request: that to log in has the password.
if logging.getLogger("kafka").level == logging.NOTSET:
    logging.getLogger("kafka").setLevel(logging.WARNING)

_CLIENT = "foreshock"
_RECONNECT_MS = 1_000


def open_consumer(settings: KafkaSettings, **options: Any) -> Any:
    """A consumer of committed records that commits nothing and creates no topic."""
    return _open(
        KafkaConsumer,
        settings,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        auto_offset_reset="none",
        metrics_enabled=False,
        isolation_level="read_committed",
        **options,
    )


def open_producer(settings: KafkaSettings, **options: Any) -> Any:
    """An idempotent producer: a record counts when all replicas in sync have it."""
    return _open(
        KafkaProducer,
        settings,
        acks="all",
        enable_idempotence=True,
        metrics_enabled=False,
        allow_auto_create_topics=False,
        **options,
    )


@contextmanager
def admin(settings: KafkaSettings) -> Iterator[Any]:
    """A client for questions about the cluster and its topics."""
    client = _open(KafkaAdminClient, settings)
    try:
        with explained(settings):
            yield client
    finally:
        client.close()


@contextmanager
def explained(settings: KafkaSettings) -> Iterator[None]:
    """Errors of the library as BrokerError; those that may pass as BrokerAway."""
    try:
        yield
    except RetriableError as error:
        raise BrokerAway(explanation(settings, error)) from error
    except KafkaError as error:
        raise BrokerError(explanation(settings, error)) from error


def explanation(settings: KafkaSettings, error: BaseException) -> str:
    """What `error` means for people; holds no secret, as the library's texts hold none."""
    where = f"Kafka at {settings.brokers}"
    if isinstance(error, AuthorizationError):
        return f"{where} refuses {settings.who} ({_name(error)}): have the ACL granted"
    if isinstance(error, UnsupportedCodecError):
        return f"{where} holds records compressed in a way that cannot be read here: {error}"
    if isinstance(error, CorruptRecordError):
        return f"{where} gave a damaged record: {error}; check the broker's disks"
    said = str(error).strip()
    return f"{where} failed: {said if said.startswith(_name(error)) else _name(error) + ' ' + said}"


def _name(error: BaseException) -> str:
    return type(error).__name__


def _open(kind: Callable[..., Any], settings: KafkaSettings, **options: Any) -> Any:
    security = _security(settings)
    try:
        # KafkaTimeoutError is all that the library says of a connection that does not come about.
        return kind(
            bootstrap_servers=settings.addresses,
            bootstrap_timeout_ms=round(settings.connect_seconds * 1000),
            client_id=_CLIENT,
            reconnect_backoff_max_ms=_RECONNECT_MS,
            **security,
            **options,
        )
    except (RetriableError, OSError) as error:
        raise BrokerAway(_why_not(settings, security.get("ssl_context"))) from error


def _security(settings: KafkaSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.security}
    if settings.uses_tls:
        options["ssl_context"] = _tls(settings)
    if settings.uses_sasl:
        options["sasl_mechanism"] = settings.mechanism
        options["sasl_plain_username"] = settings.user
        options["sasl_plain_password"] = settings.password()
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    file = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        if settings.certificate_file:
            file = settings.certificate_file
            # Without a password the library would ask at the terminal.
            password = settings.key_password() or ""
            context.load_cert_chain(file, settings.key_file, password)
    except OSError as error:  # ssl.SSLError is one
        raise KafkaSettingsError(f"the TLS file {file} cannot be used: {error}") from error
    return context


def _why_not(settings: KafkaSettings, context: ssl.SSLContext | None) -> str:
    """Why no connection came about, found out by looking: the library says only that none did."""
    where = f"Kafka at {settings.brokers}"
    reasons = [_look(address, settings.connect_seconds, context) for address in settings.addresses]
    if None not in reasons:
        return f"{where} cannot be reached: {reasons[0]}; check the address, and that it is running"
    if settings.uses_sasl:
        return (
            f"{where} is there but does not let {settings.who} in: check user, password and "
            f"mechanism ({settings.mechanism}), and whether it takes {settings.security}"
        )
    return (
        f"{where} is there but does not answer as Kafka over {settings.security}: check the port, "
        "and `security` in [kafka]"
    )


def _look(address: str, seconds: float, context: ssl.SSLContext | None) -> str | None:
    """What keeps us from talking to `address`; None where nothing does."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), seconds) as plain:
            if context:
                context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLError as error:
        return f"TLS fails ({error.reason or error})"
    except OSError as error:
        return error.strerror or str(error)
    return None
