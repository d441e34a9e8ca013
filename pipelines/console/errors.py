"""What the console refuses, each in one sentence for whoever asked."""

from alerting.errors import AlertingError


class AccountError(AlertingError):
    """A user, password or key that cannot be as asked."""


class SignInError(AccountError):
    """Somebody whom the OpenID Connect provider does not vouch for as asked."""
