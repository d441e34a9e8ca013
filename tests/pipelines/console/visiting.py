"""A console in a process of its own, and people who visit it over HTTP."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from alerting.delivery import DEAD
from connectors.store import Store
from pipelines.alerting.approving import propose_rules, put_in_force
from pipelines.alerting.silencing import ask_for
from pipelines.console.accounts import Accounts
from pipelines.console.rights import Role
from tests.pipelines.ledgers import stored
from tests.pipelines.report_rows import filled

PASSWORD = "seven pale otters"
EVERYBODY = {
    "ann": Role.ANALYST,
    "carl": Role.COMPLIANCE,
    "cleo": Role.COMPLIANCE,
    "emil": Role.ENGINEER,
    "ada": Role.ADMIN,
}

_DEADLINE = 180.0


def fill(url: str, *texts: str, urls: tuple[str, ...] = ()) -> None:
    """Two days of AMZN with these texts at its surge, two alerts with a ledger, and everybody."""
    with filled(Path(url) if "://" not in url else url, texts=texts, urls=urls, alerts=()) as store:
        stored(store)
        populate(store)


def populate(store: Store) -> None:
    """Everybody, with the same password."""
    accounts = Accounts(store=store)
    for name, role in EVERYBODY.items():
        accounts.add(name, role, PASSWORD, actor="test")


RULES = """
[people.jane]
email = "jane@example.org"
[routes.desk]
to = ["jane"]
[[rules]]
name = "all <script>alert(3)</script>"
route = "desk"
[approvals]
rules = true
silences = true
"""
CHANGED = f"# &lt;i&gt; \u202e\n{RULES}"


def at_work(store: Store) -> None:
    """Rules in force and proposed by jane, a silence that waits, and a dead delivery."""
    now = datetime.now(UTC)
    with store.transaction() as tx:
        put_in_force(tx, RULES.encode(), now)
        propose_rules(tx, CHANGED.encode(), actor="jane", reason="<b>New</b>", now=now)
        ask_for(
            tx,
            owner="jane",
            reason="<b>Planned</b>",
            starts_at=now,
            ends_at=now + timedelta(hours=8),
            keys=("entity:BA",),
            kinds=("volume",),
            now=now,
        )
        event = store.events()[0]
        row = {
            "id": "dead",
            "alert_id": event["alert_id"],
            "event_id": event["id"],
            "channel": "desk",
            "recipient": "<i>jane</i>",
            "payload": {},
            "state": DEAD,
            "attempts": 300,
            "last_error": "<b>gone</b>",
            "recorded_at": now,
        }
        tx.upsert("deliveries", [row])


@contextmanager
def serving(database: str, **environment: str) -> Iterator[str]:
    """The address of a console over that store, which runs as users run it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines", "console", "--database", database]
    process = subprocess.Popen(
        [*command, "--port", str(port)], env={**os.environ, **environment}, stdout=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _DEADLINE
        while not _answers(url):
            assert process.poll() is None, "the console ended at once"
            assert time.monotonic() < deadline, "the console does not answer"
        yield url
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout:
            process.stdout.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).is_success
    except httpx.TransportError:
        return False


class Visitor:
    """A browser without JavaScript: cookies, pages, and the forms on them."""

    def __init__(self, url: str, name: str | None = None) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)
        if name is not None:
            answer = self.log_in(name)
            assert answer.status_code == 303, answer.text

    def log_in(self, name: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return self.http.post("/login", data={"name": name, "password": password, **fields})

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, **options: Any
    ) -> httpx.Response:
        """Sends a form with the token that the visitor's own pages hold."""
        return self.http.post(path, data={"csrf": self.csrf, **(fields or {})}, **options)

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get("/account").text)
        assert found
        return found[1]

    def key(self, *scopes: str) -> httpx.Client:
        """A client of the API with a new key of that visitor."""
        page = self.post("/account/keys", {"label": "test", "scope": list(scopes), "days": "1"})
        found = re.search(r'id="key">(fsk_[\w-]+)<', page.text)
        assert found, page.text
        return httpx.Client(
            base_url=self.http.base_url.join("/api/v1"),
            headers={"Authorization": f"Bearer {found[1]}"},
            timeout=30,
        )
