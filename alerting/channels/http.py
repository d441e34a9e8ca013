"""One request over HTTP: no redirects, nothing read of a good answer, little of a bad one.

Of an address only the host is ever named: the rest of it may be a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from alerting.channels.channel import Refused, Retry
from alerting.errors import ConfigurationError
from alerting.inert import one_line

_EXCERPT = 2_000  # bytes that are read of a refusal
_SAID = 200  # characters of it that are kept
_LONGEST_WAIT = timedelta(hours=1)
_ASK_TO_WAIT = frozenset({429, 503})
_REFUSALS = frozenset({400, 413, 415, 422})
"""Where the other side has read the notice and will not have it. Other errors, a wrong password or
address among them, can be mended on one of the two sides while we try again."""


def checked_authority(ca_file: Path | None) -> None:
    """Raises `ConfigurationError` where there is no such file."""
    if ca_file is not None and not ca_file.is_file():
        raise ConfigurationError(f"ca_file {ca_file} is not a file: name one in PEM")


class _NoNetrc(AuthBase):
    """Keeps `requests` from sending what it finds in ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@dataclass(frozen=True)
class Endpoint:
    """Where to send to. `timeout_seconds`: without a byte from the other side; `ca_file`: the
    authority that signed its certificate, PEM (None: those that the system trusts)."""

    url: str = field(repr=False)
    timeout_seconds: float
    ca_file: Path | None = None
    auth: AuthBase | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checked_authority(self.ca_file)

    @property
    def host(self) -> str:
        """What may be named of the address."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns where the answer is a 2xx; else raises `Retry` or `Refused`."""
        try:
            with requests.post(
                self.url,
                data=body,
                headers={"User-Agent": "foreshock", "Accept-Encoding": "identity", **headers},
                timeout=self.timeout_seconds,
                allow_redirects=False,
                stream=True,
                verify=str(self.ca_file) if self.ca_file else True,
                auth=self.auth or _NoNetrc(),
            ) as answer:
                self._judge(answer)
        except (requests.RequestException, OSError) as error:
            raise unreachable(error, self.host, self.timeout_seconds) from None

    def _judge(self, answer: requests.Response) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Retry(f"{self.host} answered {status}, a redirect: set the address it leads to")
        said = f"{self.host} answered {_status(status)}"
        if status in _REFUSALS:
            raise Refused(said, _words(answer))
        raise Retry(said, _words(answer), after=_wait(answer))


def unreachable(error: Exception, host: str, timeout_seconds: float) -> Retry:
    """What a failed connection means; the error's own text may hold the address: it is not told."""
    if isinstance(error, requests.exceptions.SSLError):
        return Retry(
            f"TLS with {host} cannot be set up: check its certificate, ca_file and the port"
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Retry(f"{host} did not answer within {timeout_seconds:g} s")
    if isinstance(error, requests.exceptions.ProxyError):
        return Retry(f"the proxy on the way to {host} does not answer")
    if isinstance(error, requests.exceptions.ConnectionError | OSError):
        return Retry(f"{host} cannot be reached, or closed the connection without an answer")
    return Retry(f"the request to {host} failed: {type(error).__name__}")


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _words(answer: requests.Response) -> str:
    try:
        found: bytes = answer.raw.read(_EXCERPT, decode_content=False)
    except (HTTPError, OSError):
        return ""
    return one_line(found.decode("utf-8", "replace"), _SAID)


def _wait(answer: requests.Response) -> timedelta | None:
    if answer.status_code not in _ASK_TO_WAIT:
        return None
    asked = answer.headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        return min(timedelta(seconds=int(asked[:9])), _LONGEST_WAIT)
    try:
        left = parsedate_to_datetime(asked) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return min(max(left, timedelta(0)), _LONGEST_WAIT)
