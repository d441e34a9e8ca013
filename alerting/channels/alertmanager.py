"""Alertmanager's API v2: an alert of ours is an alert there, firing until it is resolved here.

What Alertmanager is told twice, it tells once: it knows an alert by its labels, so these hold
nothing that changes in an alert's life.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from requests.auth import HTTPBasicAuth

from alerting.channels.http import Endpoint
from alerting.channels.notice import Notice
from alerting.channels.secrets import needed
from alerting.channels.settings import AlertmanagerSettings
from alerting.channels.wording import lines, subject

_HEADERS = {"Content-Type": "application/json"}
_NAME = "ForeshockSpike"


class Alertmanager:
    """One Alertmanager; name several of a cluster as several channels."""

    def __init__(
        self, endpoint: Endpoint, settings: AlertmanagerSettings, clock: Callable[[], datetime]
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._clock = clock

    @classmethod
    def opened(cls, name: str, settings: AlertmanagerSettings) -> "Alertmanager":
        """Raises `ConfigurationError` where the password is missing."""
        auth = None
        if settings.user is not None:
            auth = HTTPBasicAuth(settings.user, needed(name, "password", settings.password_file))
        url = settings.url.rstrip("/") + "/api/v2/alerts"
        endpoint = Endpoint(url, settings.timeout_seconds, settings.ca_file, auth)
        return cls(endpoint, settings, lambda: datetime.now(UTC))

    def send(self, notice: Notice) -> None:
        """Raises `Retry` or `Refused`."""
        self._endpoint.post(json.dumps([self._alert(notice)]).encode(), _HEADERS)

    def _alert(self, notice: Notice) -> dict[str, Any]:
        alert, now = notice.alert, self._clock()
        until = alert.resolved_at or now + timedelta(hours=self._settings.firing_hours)
        found: dict[str, Any] = {
            "labels": {
                **self._settings.labels,
                "alertname": _NAME,
                "alert_id": alert.id,
                "key": alert.key,
                "kind": alert.kind,
            },
            "annotations": {
                "severity": alert.severity,
                "summary": subject(notice),
                "description": "\n".join(lines(notice)),
            },
            "startsAt": alert.opened_at.isoformat(),
            "endsAt": until.isoformat(),
        }
        return found | ({"generatorURL": notice.link} if notice.link else {})
