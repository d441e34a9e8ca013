"""What a back end must offer."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

TokenBatch = NDArray[np.int32]
"""Token ids, (texts, padded length)."""

Logits = tuple[NDArray[np.float32], ...]
"""For each head of the model (texts, labels), in the order of `models.tags`, uncalibrated."""


class BackendError(ModelError):
    """The engine cannot be had or cannot go on; says what to do."""


class Backend(Protocol):
    """The encoder and its heads on some engine.

    The logits of a row depend on that row alone, bit for bit, whatever the rows beside it and the
    number of rows, as long as `numeric_path` stays the same; the padded length of a row is part of
    it. Several threads may ask at once.
    """

    @property
    def numeric_path(self) -> str:
        """Engine, its version, precision and instruction set, such as openvino-2026.4/int8/avx2."""
        ...

    @property
    def tokens_per_batch(self) -> int:
        """Tokens, padding included, that a batch is best filled up to. Any other size works too."""
        ...

    @property
    def texts_per_round(self) -> int:
        """As many texts at a time keep the engine busy."""
        ...

    def logits(self, batches: Iterable[TokenBatch]) -> Iterator[Logits]:
        """Logits of each batch, in order; the next batch is drawn while earlier ones compute."""
        ...
