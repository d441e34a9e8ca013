"""What stands before every route: whose name the browser asks for, where a form comes from, how
much it sends; and the headers with which every answer leaves."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.console.access import SAFE_METHODS
from pipelines.console.problems import API, problem

LARGEST_BODY = 1_000_000

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Shield:
    """ASGI middleware. `hosts`: names that the console answers to, beside the loopback's."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], secure: bool) -> None:
        self._app = app
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._headers = _HEADERS | (
            {"Strict-Transport-Security": "max-age=31536000"} if secure else {}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def armed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, _bounded(receive), armed)
        else:
            told = problem if scope["path"].startswith(API) else _plain
            await told(*refusal)(scope, receive, armed)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = _host_name(host)
        if name not in self._hosts:
            # Else a page elsewhere could point its own name at this address and read the answers.
            return 421, "This console does not answer to that name: see [console] hosts."
        if _length(headers.get("content-length", "0")) > LARGEST_BODY:
            return 413, f"The request is longer than {LARGEST_BODY:,} bytes."
        if b"%00" in scope.get("raw_path", b"") or b"%00" in scope["query_string"]:
            return 400, "The address holds a NUL character, which no store keeps."
        if scope["method"] not in SAFE_METHODS and _foreign(headers, host):
            return 403, "This request comes from a page elsewhere."
        return None


def _plain(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status)


class TooLarge(Exception):
    """A body that goes on beyond what is read."""


def _length(text: str) -> int:
    # The server itself refuses a length that is no number.
    return int(text) if text.isascii() and text.isdigit() else 0


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that another site's page sent it; all that are in use do."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != host


def _bounded(receive: Receive) -> Receive:
    """Stops reading a body that has no length, or lies about it."""
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > LARGEST_BODY:
            raise TooLarge
        return message

    return bounded
