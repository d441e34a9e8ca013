"""What the package raises at its border."""


class ModelError(Exception):
    """Base of all errors of `models`; its text is one sentence that says what to do."""
