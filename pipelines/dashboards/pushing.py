"""Puts the dashboards into a Grafana through its API, and marks alerts there.

A dashboard is known by its uid and replaced only at the version that was looked at: whoever saved
it in between is not overwritten. Data sources are Grafana's own; a dashboard asks for one to use.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError

from pipelines.dashboards.building import Board

FOLDER_UID, FOLDER_TITLE = "foreshock", "Foreshock"
_THEIRS = ("id", "version")
"""What Grafana keeps of a dashboard, and no file says."""

_MOST_MARKS = 10_000


class GrafanaError(Exception):
    """Grafana refused, or did not answer; the text is one sentence."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a dashboard; `difference`: lines that go (-) and come (+)."""

    uid: str
    title: str
    status: Literal["created", "updated", "unchanged"]
    difference: list[str] = []


class Grafana:
    """One Grafana, by its address and a service account's token; raises GrafanaError for an address
    of another kind."""

    def __init__(self, url: str, token: str | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise GrafanaError(
                f"{url} is no address of a Grafana: write https://HOST or http://HOST"
            )
        self._url = url
        self._api = GrafanaApi.from_url(url, credential=token)

    def push(self, board: Board, *, dry_run: bool, message: str) -> Pushed:
        """Creates the dashboard, or replaces it where it differs; a dry run only says what would
        be. Raises GrafanaError, for one that was saved since as well."""
        uid, title = str(board["uid"]), str(board["title"])
        with self._explained(title):
            there = self._found(uid)
            if there is None:
                status, version, lines = "created", None, _lines(board)
                difference = [f"+{line}" for line in lines]
            else:
                difference = _difference(there, board)
                status, version = "updated" if difference else "unchanged", there["version"]
            if difference and not dry_run:
                self._api.dashboard.update_dashboard(
                    {
                        "dashboard": {**board, "id": None, "version": version},
                        "folderUid": FOLDER_UID,
                        "overwrite": False,
                        "message": message,
                    }
                )
        return msgspec.convert(
            {"uid": uid, "title": title, "status": status, "difference": difference}, Pushed
        )

    def make_folder(self) -> None:
        """Makes the folder of the dashboards where it is missing."""
        with self._explained(f"the folder {FOLDER_TITLE}"):
            if self._has_folder():
                return
            try:
                self._api.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID)
            except GrafanaClientError as error:
                # 412: somebody made it in between; 409: there is one of that name.
                if error.status_code not in (409, 412):
                    raise
                if not self._has_folder():
                    raise GrafanaError(
                        f"{self._url} has another folder named {FOLDER_TITLE}: rename that one"
                    ) from error

    def mark(self, alerts: Iterable[Mapping[str, Any]]) -> int:
        """Adds an annotation for each alert that has none; returns how many were added."""
        with self._explained("the annotations"):
            there = self._api.annotations.get_annotation(tags=["foreshock"], limit=_MOST_MARKS)
            known = {tag for mark in there for tag in mark["tags"]}
            missing = [row for row in alerts if f"alert:{row['id']}" not in known]
            for row in missing:
                ended = row["resolved_at"] or row["updated_at"]
                self._api.annotations.add_annotation(
                    time_from=round(row["opened_at"].timestamp() * 1000),
                    time_to=round(ended.timestamp() * 1000),
                    tags=["foreshock", row["severity"], f"alert:{row['id']}"],
                    text=f"{row['key']}, {row['kind']}",
                )
        return len(missing)

    def _found(self, uid: str) -> Board | None:
        try:
            found: Board = self._api.dashboard.get_dashboard(uid)["dashboard"]
        except GrafanaClientError as error:
            if error.status_code == 404:
                return None
            raise
        return found

    def _has_folder(self) -> bool:
        try:
            self._api.folder.get_folder(FOLDER_UID)
        except GrafanaClientError as error:
            if error.status_code != 404:
                raise
            return False
        return True

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except GrafanaUnauthorizedError as error:
            raise GrafanaError(
                f"{self._url} does not know the token: set FORESHOCK_GRAFANA_TOKEN to that of a "
                "service account"
            ) from error
        except GrafanaException as error:
            raise GrafanaError(f"{self._url}, {what}: {_reason(error)}") from error
        except requests.RequestException as error:
            raise GrafanaError(f"{self._url} does not answer: {error}") from error


def _reason(error: GrafanaException) -> str:
    if error.status_code == 403:
        return "the token may not do that: give its service account the role Editor"
    if error.status_code == 412:
        return "somebody has saved it meanwhile: look at the difference, and push again"
    return str(error.message)


def _difference(there: Board, ours: Board) -> list[str]:
    found = difflib.unified_diff(_lines(there), _lines(ours), "grafana", "foreshock", "", "", 2)
    return [line.rstrip("\n") for line in found]


def _lines(board: Board) -> Sequence[str]:
    plain = {name: value for name, value in board.items() if name not in _THEIRS}
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
