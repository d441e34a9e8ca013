"""Signatures of webhooks as https://www.standardwebhooks.com has them: HMAC-SHA-256 over the id,
the time of sending and the body, so that nothing of it can be exchanged, nor an old one sent again.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from alerting.errors import AlertingError, ConfigurationError

_PREFIX = "whsec_"
_LEAST_BYTES = 16
TOLERANCE = timedelta(minutes=5)
"""How far the time of a signature may be from the receiver's clock."""


class SignatureError(AlertingError):
    """A request is not what we sent, or not now."""


def key_of(secret: str) -> bytes:
    """The key: `whsec_` and base64, or any text of 16 bytes and more. Raises `ConfigurationError`,
    never naming the secret."""
    try:
        encoded = secret.removeprefix(_PREFIX)
        key = secret.encode() if encoded == secret else base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"a secret that begins with {_PREFIX} must be base64") from error
    if len(key) < _LEAST_BYTES:
        raise ConfigurationError(
            f"the secret of a webhook has {len(key)} bytes: take {_LEAST_BYTES} or more, as made "
            "by: openssl rand -base64 32"
        )
    return key


def signed(keys: Iterable[bytes], notice_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that prove a request; one signature for each key, so that keys can be changed."""
    stamp = str(int(now.timestamp()))
    signatures = [f"v1,{_signature(key, notice_id, stamp, body)}" for key in keys]
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }


def check(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """For receivers in Python: raises `SignatureError` where the request is not genuine.

    `headers` by small names, as most servers give them.
    """
    try:
        notice_id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        sent = datetime.fromtimestamp(int(stamp), UTC)
        given = headers["webhook-signature"].split()
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise SignatureError("the request has no signature, or not one of ours") from error
    if abs(now - sent) > TOLERANCE:
        raise SignatureError(f"the request was signed at {sent:%Y-%m-%d %H:%M:%S} UTC: too old")
    expected = f"v1,{_signature(key, notice_id, stamp, body)}".encode()
    if not any(hmac.compare_digest(one.encode(), expected) for one in given):
        raise SignatureError("the signature is not by this key, or the request was changed")


def _signature(key: bytes, notice_id: str, stamp: str, body: bytes) -> str:
    content = b".".join((notice_id.encode(), stamp.encode(), body))
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
