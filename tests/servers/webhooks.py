"""Receivers of webhooks: an honest one that keeps to idempotency keys, and ones that fail, hang and
lie."""

import json
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Behaviour = Callable[["Handler"], None]
"""Answers one request whose body was read, or does not."""


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "").strip('"')

    @property
    def notice(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What has come in; `accepted` holds each idempotency key once, however often it came."""

    url: str = ""
    behaviour: Behaviour = field(default_factory=lambda: answer(200))
    requests: list[Request] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """Reads a request and lets the receiver's behaviour answer it."""

    receiver: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_ = Request(self.path, headers, body)
        with self.receiver.lock:
            self.receiver.requests.append(self.request_)
        self.receiver.behaviour(self)

    do_GET = do_PUT = do_POST

    def accept(self) -> None:
        """What an honest receiver does with a request before it answers 200."""
        with self.receiver.lock:
            self.receiver.accepted[self.request_.key] += 1

    def log_message(self, *_: object) -> None:
        """Nothing to the screen."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that go away or are killed are what this is for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def receiving(
    behaviour: Behaviour | None = None, *, tls: tuple[Path, Path] | None = None
) -> Iterator[Receiver]:
    """A receiver on a free port; its behaviour may be changed at any time."""
    receiver = Receiver(behaviour=behaviour or answer(200))
    handler = type("Bound", (Handler,), {"receiver": receiver})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answers with the status; with a good one it takes the request first."""

    def behaviour(handler: Handler) -> None:
        if 200 <= status < 300:
            handler.accept()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behaviour


def hang(handler: Handler) -> None:
    """Never answers."""
    handler.receiver.released.wait(60)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then, for ever."""
    handler.close_connection = True
    while not handler.receiver.released.wait(0.05):
        try:
            handler.wfile.write(b"H")
        except OSError:
            return


def close(handler: Handler) -> None:
    """Takes the request, and breaks the connection instead of answering."""
    handler.accept()
    handler.close_connection = True
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def promise_more(handler: Handler) -> None:
    """Says 200 and a megabyte to come, and closes."""
    handler.accept()
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.close_connection = True


def flood(handler: Handler) -> None:
    """An error with a body without an end."""
    handler.send_response(500)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    handler.close_connection = True
    while not handler.receiver.released.is_set():
        try:
            handler.wfile.write(b"\x1b[31mno" * 10_000)
        except OSError:
            return


def nonsense(handler: Handler) -> None:
    """No HTTP at all."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True
