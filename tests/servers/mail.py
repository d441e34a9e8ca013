"""A mail server (aiosmtpd): it keeps what it takes, and refuses what it is told to."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "foreshock", "correct-horse-battery"


@dataclass
class Mailbox:
    """What has come in. `recipient`, `data`: what is answered to RCPT and DATA; None takes it."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    recipient: str | None = None
    data: str | None = None
    silent: bool = False
    chance: Callable[[], float] = lambda: 0.0
    """From 0 to 1: below a half an e-mail is taken, above it is not, or the answer is lost."""

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if self.recipient is not None:
            return self.recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.silent:
            await asyncio.sleep(60)
        if self.data is not None:
            return self.data
        chance = self.chance()
        if chance > 0.7:
            return "451 not now"
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.envelopes.append(envelope)
        if chance > 0.5:
            server.transport.abort()  # taken, and nobody told
        return "250 OK"


@contextmanager
def receiving(tls: tuple[Path, Path] | None = None, *, implicit: bool = False) -> Iterator[Mailbox]:
    """A server on a free port; with `tls` it asks for STARTTLS and a password, or speaks TLS from
    the first byte where `implicit`."""
    mailbox = Mailbox()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    options: dict[str, Any] = {"hostname": "127.0.0.1", "loop": loop}
    if context is not None and not implicit:
        options |= {"tls_context": context, "require_starttls": True}
    if context is not None:
        options |= {
            "auth_required": True,
            "authenticator": _authenticate,
            "auth_require_tls": not implicit,
        }

    async def serve() -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(mailbox, **options), "127.0.0.1", 0, ssl=context if implicit else None
        )

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        asyncio.run_coroutine_threadsafe(_closed(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any):
    good = isinstance(data, LoginPassword) and data == LoginPassword(
        USER.encode(), PASSWORD.encode()
    )
    return AuthResult(success=good, handled=good)
