"""A notice in which everything that a stranger can write is hostile."""

from typing import Any

import msgspec

from alerting.channels.notice import Notice, Shown
from alerting.notification import Held
from tests.alerting.test_lifecycle import NOON, run, spike

HOSTILE = (
    "Boeing\r\nBcc: all@evil.example\r\n\r\n<script>alert(1)</script> <!channel> @everyone "
    "\x1b[31m\u202emoc.live\u202c [log in](https://evil.example/x) "
    '"><img src=x onerror=alert(1)> www.evil.com'
)
LINK = "https://foreshock.example/alerts/1"


def notice(**changes: Any) -> Notice:
    alert = run([spike(key="entity:<b>BA\r\nX: y</b>")])[1][0].alert
    alert = msgspec.structs.replace(alert, **changes.pop("alert", {}))
    base = Notice(
        id="5f" * 12,
        recipient="compliance@bank.example",
        event="opened",
        event_id="e1",
        occurred_at=NOON,
        title=f"Negative surge on {HOSTILE}",
        summary="12 new negative stories in 1 h against 1.5 expected",
        link=LINK,
        alert=alert,
        incident=None,
        messages=(
            Shown(
                id="m1",
                source=f"feed {HOSTILE}",
                published_at=NOON,
                title=HOSTILE,
                text=HOSTILE,
                url="javascript:alert(1)",
                sentiment="negative",
                negative=0.97,
            ),
        ),
        held=(
            Held(
                alert_id=alert.id,
                event_id="e0",
                event="updated",
                key="entity:<b>",
                kind="volume",
                severity="low",
                occurred_at=NOON,
                why="rate-limit",
            ),
        ),
        route="us\r\nbanks",
        step=0,
        rules="r1",
    )
    return msgspec.structs.replace(base, **changes)
