"""A notice in words, as plain text and as HTML. Whatever a stranger wrote is defanged in both."""

from datetime import datetime

import jinja2

from alerting.channels.notice import Notice, Shown
from alerting.inert import defanged, one_line
from alerting.notification import Held

_LINE = 200  # characters of a title or a figure
_TEXT = 400  # of a message

_BEFORE = {
    "opened": "",
    "updated": "Update: ",
    "revised": "Corrected: ",
    "withdrawn": "Withdrawn: ",
    "resolved": "Resolved: ",
    "escalated": "Nobody acknowledged: ",
    "digest": "Digest of what was held back: ",
}
_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("alerting.channels", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def subject(notice: Notice) -> str:
    """One line: `[high] Update: Negative surge on Amazon`."""
    before = _BEFORE.get(notice.event, f"{notice.event.capitalize()}: ")
    return f"[{notice.alert.severity}] {before}{defanged(notice.title, _LINE)}"


def lines(notice: Notice) -> list[str]:
    """What it is about, without the messages."""
    alert = notice.alert
    found = [defanged(notice.summary, _LINE), f"Severity {alert.severity}"]
    found.append(f"Opened {time(alert.opened_at)}, last spike {time(alert.updated_at)}")
    if alert.resolved_at is not None:
        found.append(f"Over since {time(alert.resolved_at)}")
    elif not alert.final:
        found.append("Found in what has arrived so far: it may yet be revised or withdrawn")
    if notice.step:
        found.append(f"Nobody acknowledged it in time: this is step {notice.step}")
    return found


def held(one: Held) -> str:
    """One line of a digest."""
    said = f"{time(one.occurred_at)}  {one.severity}  {one.event}: {one.kind} {one.key}"
    return defanged(f"{said} ({one.why})", _LINE)


def told(message: Shown) -> tuple[str, str]:
    """Where a message is from, and its text."""
    source = defanged(message.source, 80)
    where = f"{time(message.published_at)}, {source}, {message.negative:.0%} negative"
    title = f"{message.title}: " if message.title else ""
    return where, defanged(title + message.text, _TEXT)


def because(notice: Notice) -> str:
    """Why it was sent to this recipient."""
    route = f", by the route {notice.route}" if notice.route else ""
    told = one_line(f"Foreshock told {notice.recipient}{route}", _LINE)
    return f"{told}. Alert {notice.alert.id}, notice {notice.id}."


def plain(notice: Notice) -> str:
    """The whole notice as text."""
    parts = ["\n".join(lines(notice))]
    if notice.link:
        parts.append(notice.link)
    if notice.held:
        parts.append("\n".join(["Held back:", *map(held, notice.held)]))
    parts += ["\n".join(told(message)) for message in notice.messages]
    return "\n\n".join([*parts, because(notice)]) + "\n"


def page(notice: Notice) -> str:
    """The whole notice as an HTML document that loads nothing and runs nothing."""
    return _environment.get_template("mail.html").render(
        subject=subject(notice),
        lines=lines(notice),
        link=notice.link,
        held=[held(one) for one in notice.held],
        messages=[told(message) for message in notice.messages],
        because=because(notice),
    )


def time(moment: datetime) -> str:
    """`2014-01-30 21:05 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
