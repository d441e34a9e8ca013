"""What a notification says: its alert in words, and the messages it rests on as they stand now."""

from datetime import datetime

from alerting.channels.notice import Notice, Shown
from alerting.notification import Notification
from pipelines.evidence import Rows, shown_messages
from pipelines.naming import display_name
from pipelines.report import wording


def notice(rows: Rows, notification: Notification, console: str | None) -> Notice:
    """The notice of a notification, the same whenever it is made, unless a message was erased.

    `console`: its address, for the link.
    """
    alert = notification.alert
    figures = {
        "kind": alert.kind,
        "peak_observed": alert.peak_observed,
        "expected_at_peak": alert.expected_at_peak,
    }
    return Notice(
        id=notification.id,
        recipient=notification.recipient,
        event=notification.event,
        event_id=notification.event_id,
        occurred_at=notification.occurred_at,
        title=wording.title(figures, display_name(alert.key)),
        summary=wording.against(figures, alert.evidence.get("scale_seconds")),
        link=f"{console.rstrip('/')}/alerts/{alert.id}" if console else None,
        alert=alert,
        incident=notification.incident,
        messages=tuple(
            Shown(
                id=row["id"],
                source=row["source"],
                published_at=datetime.fromisoformat(row["published_at"]),
                title=row["title"] and _utf8(row["title"]),
                text=_utf8(row["text"]),
                url=row["url"] and _utf8(row["url"]),
                sentiment=row["sentiment"],
                negative=row["negative"],
            )
            for row in shown_messages(rows, alert)
        ),
        held=notification.held,
        route=notification.route,
        step=notification.step,
        rules=notification.rules,
    )


def _utf8(text: str) -> str:
    """The text without what UTF-8 cannot hold (a half of a pair of surrogates)."""
    return text.encode("utf-8", "replace").decode()
