"""Grafana: one annotation for each alert, moved and closed as the alert goes on.

An annotation is found again by a tag that names the alert: what is sent twice is there once.
"""

import html
from typing import Any
from urllib.parse import urlsplit

import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaBadInputError, GrafanaException

from alerting.channels.channel import Refused, Retry
from alerting.channels.http import checked_authority, unreachable
from alerting.channels.notice import Notice
from alerting.channels.secrets import needed
from alerting.channels.settings import GrafanaSettings
from alerting.channels.wording import lines, subject
from alerting.inert import one_line

_SAID = 200


class Grafana:
    """One organisation of one Grafana."""

    def __init__(self, settings: GrafanaSettings, token: str) -> None:
        checked_authority(settings.ca_file)
        self._settings = settings
        parts = urlsplit(settings.url)
        self._host = parts.netloc
        prefix = parts.path.strip("/")
        api = GrafanaApi(
            auth=token,
            protocol=parts.scheme,
            host=parts.hostname,
            port=parts.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            verify=str(settings.ca_file) if settings.ca_file else True,
            timeout=settings.timeout_seconds,
            user_agent="foreshock",
        )
        api.client.s.max_redirects = 0
        self._annotations = api.annotations

    @classmethod
    def opened(cls, name: str, settings: GrafanaSettings) -> "Grafana":
        """Raises `ConfigurationError` where the token is missing."""
        return cls(settings, needed(name, "token", settings.token_file))

    def send(self, notice: Notice) -> None:
        """Raises `Retry` or `Refused`."""
        try:
            self._annotate(notice)
        except GrafanaBadInputError as error:
            raise Refused(f"{self._host} answered 400", _words(error)) from None
        except GrafanaException as error:
            raise Retry(f"{self._host} answered {error.status_code}", _words(error)) from None
        except requests.TooManyRedirects:
            raise Retry(f"{self._host} answers with a redirect: set its own address") from None
        except ValueError:  # JSON that is none
            raise Retry(f"{self._host} answers, but not as Grafana does: check the url") from None
        except (requests.RequestException, OSError) as error:
            raise unreachable(error, self._host, self._settings.timeout_seconds) from None

    def _annotate(self, notice: Notice) -> None:
        alert = notice.alert
        mark = f"foreshock:{alert.id}"
        tags = ["foreshock", mark, alert.severity, alert.kind, alert.key, *self._settings.tags]
        content: dict[str, Any] = {
            "time_from": _milliseconds(alert.opened_at.timestamp()),
            "time_to": _milliseconds((alert.resolved_at or alert.updated_at).timestamp()),
            "tags": tags,
            "text": "<br>".join(html.escape(line) for line in (subject(notice), *lines(notice))),
        }
        found = self._annotations.get_annotation(tags=[mark], limit=1)
        if found:
            self._annotations.update_annotation(annotations_id=found[0]["id"], **content)
        else:
            self._annotations.add_annotation(
                dashboard_uid=self._settings.dashboard, panel_id=self._settings.panel, **content
            )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _words(error: GrafanaException) -> str:
    return one_line(str(error.message), _SAID)
