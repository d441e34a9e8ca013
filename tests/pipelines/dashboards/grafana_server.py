"""An HTTP server that keeps what Grafana documents of its API, as far as the dashboards need it.

Folders, dashboards with versions, annotations; tokens and their roles. It is no Grafana: it shows
that we speak the API as it is documented, not that Grafana draws what we mean.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlparse

EDITOR, VIEWER = "editors-token", "viewers-token"

Reply = tuple[int, Any]


@dataclass
class Grafana:
    """What it holds, and the requests that would change it. `before_saving` runs before a
    dashboard is saved: somebody else may be faster."""

    folders: dict[str, str] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    before_saving: Callable[[], None] = lambda: None

    def answer(self, method: str, path: str, body: Any, token: str) -> Reply:
        if token not in (EDITOR, VIEWER):
            return 401, {"message": "Invalid API key"}
        if method != "GET":
            self.changes.append((method, path))
            if token == VIEWER:
                return 403, {"message": "You'll need additional permissions"}
        address = urlparse(path)
        match (method, address.path.split("/")[2:]):
            case "GET", ["folders", uid]:
                return self._folder(uid)
            case "POST", ["folders"]:
                return self._make_folder(body)
            case "GET", ["dashboards", "uid", uid]:
                return self._board(uid)
            case "POST", ["dashboards", "db"]:
                return self._save(body)
            case "GET", ["annotations"]:
                wanted = set(parse_qs(address.query).get("tags", []))
                return 200, [mark for mark in self.annotations if wanted <= set(mark["tags"])]
            case "POST", ["annotations"]:
                self.annotations.append({**body, "id": len(self.annotations) + 1})
                return 200, {"message": "Annotation added", "id": len(self.annotations)}
        return 404, {"message": "Not found"}

    def _folder(self, uid: str) -> Reply:
        if uid not in self.folders:
            return 404, {"message": "folder not found", "status": "not-found"}
        return 200, {"uid": uid, "title": self.folders[uid], "version": 1}

    def _make_folder(self, body: Any) -> Reply:
        if body["uid"] in self.folders:
            return 412, {"message": "a folder with that uid already exists"}
        if body["title"] in self.folders.values():
            return 409, {"message": "a folder with the same name already exists"}
        self.folders[body["uid"]] = body["title"]
        return self._folder(body["uid"])

    def _board(self, uid: str) -> Reply:
        if uid not in self.boards:
            return 404, {"message": "Dashboard not found"}
        return 200, {"dashboard": self.boards[uid], "meta": {"folderUid": "foreshock"}}

    def _save(self, body: Any) -> Reply:
        self.before_saving()
        board = body["dashboard"]
        there = self.boards.get(board["uid"])
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if there and not body["overwrite"] and board.get("version") != there["version"]:
            message = "The dashboard has been changed by someone else"
            return 412, {"status": "version-mismatch", "message": message}
        version = there["version"] + 1 if there else 1
        number = there["id"] if there else len(self.boards) + 1
        self.boards[board["uid"]] = {**board, "id": number, "version": version}
        return 200, {"uid": board["uid"], "id": number, "status": "success", "version": version}


@contextmanager
def running() -> Iterator[Grafana]:
    """The server, on a free port of this machine."""
    grafana = Grafana()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = grafana.answer(self.command, self.path, body, token)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield grafana
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
