"""A server that keeps the contract of Grafana's annotations: POST, PUT by id, GET by tags."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.webhooks import Handler, Receiver, receiving

TOKEN = "glsa_correct_horse"
_FIELDS = {"dashboardUID", "panelId", "time", "timeEnd", "tags", "text"}


@dataclass
class Grafana:
    receiver: Receiver
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)

    def answer(self, handler: Handler) -> None:
        if handler.headers["Authorization"] != f"Bearer {TOKEN}":
            return _say(handler, 401, {"message": "Invalid API key"})
        address = urlsplit(handler.path)
        if handler.command == "GET":
            wanted = set(parse_qs(address.query).get("tags", []))
            found = [one for one in self.annotations.values() if wanted <= set(one["tags"])]
            return _say(handler, 200, found)
        given = json.loads(handler.request_.body)
        if not given.get("text") or not set(given) <= _FIELDS:
            return _say(handler, 400, {"message": "Failed to save annotation"})
        if handler.command == "POST" and address.path == "/hook/api/annotations":
            number = len(self.annotations) + 1
            self.annotations[number] = {"id": number, **given}
            return _say(handler, 200, {"message": "Annotation added", "id": number})
        number = int(address.path.rpartition("/")[2])
        if number not in self.annotations:
            return _say(handler, 404, {"message": "Annotation not found"})
        self.annotations[number] |= given
        return _say(handler, 200, {"message": "Annotation updated"})


def _say(handler: Handler, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json; charset=UTF-8")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def running() -> Iterator[Grafana]:
    """A Grafana under a path of its host, with no annotations."""
    with receiving() as receiver:
        grafana = Grafana(receiver)
        receiver.behaviour = grafana.answer
        yield grafana
