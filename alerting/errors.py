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
    """Changes cannot be appended to the ledger."""
