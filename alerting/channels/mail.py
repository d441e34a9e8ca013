"""E-mail: text and HTML over SMTP, encrypted unless the operator says otherwise.

An e-mail may come twice: a connection that breaks after the text was sent leaves open whether it
was taken. Both copies carry the same Message-ID, by which mail programs show one.
"""

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from alerting.channels.channel import NotDelivered, Refused, Retry
from alerting.channels.notice import Notice
from alerting.channels.secrets import needed
from alerting.channels.settings import MailSettings, is_address
from alerting.channels.wording import page, plain, subject
from alerting.errors import ConfigurationError
from alerting.inert import one_line

_SAID = 200
_FOR_GOOD = frozenset({550, 551, 552, 553, 554, 555})
_POLICY = "5.7."
"""Enhanced status of what is refused to us, not to this e-mail: no log-in, no relaying, blocked."""

_FOLDED = SMTP.clone(max_line_length=78)


class Mail:
    """One server; a connection for each e-mail."""

    def __init__(self, settings: MailSettings, password: str | None) -> None:
        self._settings = settings
        self._password = password
        self._context = ssl.create_default_context(cafile=settings.ca_file)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    @classmethod
    def opened(cls, name: str, settings: MailSettings) -> "Mail":
        """Raises `ConfigurationError` where the password or the authority's file is missing."""
        password = None
        if settings.user is not None:
            password = needed(name, "password", settings.password_file)
        try:
            return cls(settings, password)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"ca_file of the channel {name!r}, {settings.ca_file}, cannot be used: {error}"
            ) from error

    def send(self, notice: Notice) -> None:
        """Raises `Retry` or `Refused`."""
        message = compose(notice, self._settings)
        try:
            self._hand_over(message, notice.recipient)
        except smtplib.SMTPRecipientsRefused as error:
            ((code, said),) = error.recipients.values()
            raise _refusal(code, said, f"{self._settings.host} refuses the recipient") from None
        except smtplib.SMTPDataError as error:
            reason = f"{self._settings.host} refuses the e-mail"
            raise _refusal(error.smtp_code, error.smtp_error, reason) from None
        except smtplib.SMTPResponseException as error:
            raise Retry(
                f"{self._settings.host} answered {error.smtp_code}", _words(error.smtp_error)
            ) from None
        except smtplib.SMTPNotSupportedError:
            raise Retry(
                f"{self._settings.host} offers no STARTTLS, or no log-in: check `security`, `user`"
            ) from None
        except ssl.SSLError:
            raise Retry(
                f"TLS with {self._settings.host} cannot be set up: check its certificate, ca_file "
                "and the port"
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise Retry(
                f"{self._settings.host} cannot be reached, or broke off: {type(error).__name__}"
            ) from None

    def _hand_over(self, message: EmailMessage, recipient: str) -> None:
        server = self._connected()
        try:
            if self._settings.security == "starttls":
                server.starttls(context=self._context)
            if self._settings.user is not None and self._password is not None:
                server.login(self._settings.user, self._password)
            server.send_message(message, self._settings.address, [recipient])
        except BaseException:
            server.close()
            raise
        try:
            server.quit()
        except (smtplib.SMTPException, OSError):
            server.close()  # the e-mail is theirs already: how they say good-bye changes nothing

    def _connected(self) -> smtplib.SMTP:
        host, seconds = self._settings.host, self._settings.timeout_seconds
        if self._settings.security == "tls":
            port = self._settings.port or smtplib.SMTP_SSL_PORT
            return smtplib.SMTP_SSL(host, port, timeout=seconds, context=self._context)
        return smtplib.SMTP(host, self._settings.port or 587, timeout=seconds)


def compose(notice: Notice, settings: MailSettings) -> EmailMessage:
    """The e-mail: the same Message-ID and date whenever it is made. Raises `Refused` for a
    recipient that is no address."""
    if not is_address(notice.recipient):
        raise Refused("the recipient is not an e-mail address: give one in the rules")
    domain = settings.address.rpartition("@")[2]
    name = parseaddr(settings.sender)[0]
    message = EmailMessage(policy=_FOLDED)
    message["From"] = Address(display_name=name, addr_spec=settings.address)
    message["To"] = Address(addr_spec=notice.recipient)
    message["Subject"] = one_line(subject(notice), _SAID)
    message["Date"] = format_datetime(notice.occurred_at)
    message["Message-ID"] = f"<{notice.id}@{domain}>"
    message["References"] = f"<{notice.thread}@{domain}>"  # one thread for each alert
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(plain(notice))
    message.add_alternative(page(notice), subtype="html")
    return message


def _refusal(code: int, said: bytes | str, reason: str) -> NotDelivered:
    if code in _FOR_GOOD and not _words(said).startswith(_POLICY):
        return Refused(f"{reason} ({code})", _words(said))
    return Retry(f"{reason} for now ({code})", _words(said))


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return one_line(text, _SAID)
