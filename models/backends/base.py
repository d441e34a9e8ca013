"""What a back end must offer."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TokenBatch = NDArray[np.int32]
"""Token ids, (texts, padded length)."""

Logits = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Sentiment (texts, 3) and topic (texts, 20), in the order of `models.tags`, uncalibrated."""


class Backend(Protocol):
    """The encoder and its heads on some engine.

    The logits of a row depend on that row alone, bit for bit, whatever the rows beside it and the
    number of rows; the padded length of a row is part of it.
    """

    numeric_path: str
    """Engine, its version, precision and instruction set, such as openvino-2026.4/int8/avx2."""

    def logits(self, batches: Iterable[TokenBatch]) -> Iterator[Logits]:
        """Logits of each batch, in order; the next batch is drawn while earlier ones compute."""
        ...
