"""What the package raises at its border; every message says what was wrong and what to do."""


class AlertingError(Exception):
    """Base of all errors of `alerting`."""


class ConfigurationError(AlertingError):
    """A setting is outside what it may be."""


class StateError(AlertingError):
    """Stored state cannot be read, or an event does not fit the state it is applied to."""


class SeriesError(AlertingError):
    """A row of a plain series cannot be used; the message names its line."""


class LedgerError(AlertingError):
    """The ledger, or a head of it, cannot be continued or understood."""


class DecisionRefused(AlertingError):
    """What a person wants to do to an alert makes no sense."""


class KeyFileError(AlertingError):
    """A key cannot be made or used."""
