"""What can go wrong at the borders of `connectors`; every message is one sentence for people."""


class ConnectorError(Exception):
    """The base of every error that this package raises on purpose."""


class SourceError(ConnectorError):
    """A whole source cannot be used: not found, empty, of an unknown format, not readable."""


class SourceTruncated(SourceError):
    """A source ends too early or is damaged; raised after everything before the damage was read."""


class MappingError(ConnectorError):
    """A `field=column` mapping is written wrongly."""


class SpillError(ConnectorError):
    """The sort could not write or read its spill on disk."""


class StoreError(ConnectorError):
    """The store cannot be opened, read or written."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or does not take anything just now: trying again may help."""


class Rejected(ConnectorError):
    """One message is bad and belongs among the dead letters; `reason` is its short class."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class BrokerError(ConnectorError):
    """Kafka cannot be reached, refuses, lacks what was asked for, or takes too long."""


class BrokerAway(BrokerError):
    """Kafka cannot be reached now; it may well be back in a while."""


class KafkaSettingsError(ConnectorError, ValueError):
    """Settings of Kafka, or a place in a topic, that cannot be."""
