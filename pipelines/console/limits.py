"""How often somebody may ask: a bucket of tokens for each name, refilled at a steady pace."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class RateLimit:
    """`burst` requests at once, and one more every `seconds` after that, for each name.

    Lives in this process. At most `names` are kept in mind; those that ask least recently are
    forgotten, which at worst gives them a full bucket again.
    """

    burst: int
    seconds: float
    names: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str) -> float:
        """Takes a token: 0 where there was one, else the seconds until there is."""
        with self._lock:
            tokens, now = self._filled(name)
            taken = tokens >= 1
            self._buckets.pop(name, None)
            self._buckets[name] = (tokens - taken, now)
            if len(self._buckets) > self.names:
                del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1 - tokens) * self.seconds

    def wait(self, name: str) -> float:
        """The seconds until there is a token; takes none."""
        with self._lock:
            tokens, _ = self._filled(name)
        return max(0.0, (1 - tokens) * self.seconds)

    def _filled(self, name: str) -> tuple[float, float]:
        now = self.clock()
        tokens, since = self._buckets.get(name, (float(self.burst), now))
        return min(float(self.burst), tokens + (now - since) / self.seconds), now
