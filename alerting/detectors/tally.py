"""Sliding sums of a key's counts at several scales, cheap enough to keep for every key.

All counts of a bucket are packed into one integer, side by side, so that adding a bucket to a
window and taking it out again is one addition each.
"""

from alerting.windows import WindowStats

FIELDS = (
    "weight_new_negative",
    "weight_repeats_negative",
    "weight_new",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "repeats",
    "repeats_negative",
    "new_negative",
    "stories",
)
WIDTH = 48
MASK = (1 << WIDTH) - 1
"""A field holds 2**48: in millionths, 280 million messages of full weight in 24 hours."""


def pack(stats: WindowStats) -> int:
    """The counts that windows keep, in the order of `FIELDS`."""
    stories = stats.messages - stats.repeats
    packed = stories
    for count in (
        stats.new_negative,
        stats.repeats_negative,
        stats.repeats,
        stats.abstained,
        stats.positive,
        stats.neutral,
        stats.negative,
        stats.weight_new,
        stats.weight_repeats_negative,
        stats.weight_new_negative,
    ):
        packed = packed << WIDTH | count
    return packed


def pack_weights(weights: list[int]) -> int:
    """The three weights alone, in millionths."""
    return weights[0] | weights[1] << WIDTH | weights[2] << 2 * WIDTH


def unpack(packed: int) -> list[int]:
    """The counts in the order of `FIELDS`."""
    return [packed >> WIDTH * index & MASK for index in range(len(FIELDS))]


class Sliding:
    """The sum over the last `length` minutes, kept in slots of `step` minutes.

    The window begins at a slot, so it is up to `step - 1` minutes shorter than `length`.
    """

    __slots__ = ("length", "slots", "step", "total")

    def __init__(self, length: int, step: int) -> None:
        self.length = length
        self.step = step
        self.slots: list[list[int]] = []
        self.total = 0

    def start(self, minute: int) -> int:
        """First minute of the window that ends with `minute`."""
        return ((minute - self.length) // self.step + 1) * self.step

    def add(self, minute: int, packed: int) -> None:
        """Move the end of the window to `minute` and add to it."""
        slots, slot = self.slots, minute // self.step
        self.total += packed
        if slots:
            if slots[-1][0] == slot:
                slots[-1][1] += packed
                return
            first = (minute - self.length) // self.step + 1
            while slots and slots[0][0] < first:
                self.total -= slots.pop(0)[1]
        slots.append([slot, packed])

    def wire(self) -> list[list[int]]:
        """For `from_wire`: length, step, then slots as differences followed by their counts."""
        rows, before = [[self.length, self.step]], 0
        for slot, packed in self.slots:
            rows.append([slot - before, *unpack(packed)])
            before = slot
        return rows

    @classmethod
    def from_wire(cls, rows: list[list[int]]) -> "Sliding":
        """The window that `wire` wrote."""
        window, slot = cls(rows[0][0], rows[0][1]), 0
        for row in rows[1:]:
            slot += row[0]
            packed = 0
            for count in reversed(row[1:]):
                packed = packed << WIDTH | count
            window.slots.append([slot, packed])
            window.total += packed
        return window


def scan_windows() -> list[Sliding]:
    """10 and 15 minutes, 1 and 4 hours, a day; the last in hours, which teach the baseline."""
    return [Sliding(10, 1), Sliding(15, 3), Sliding(60, 6), Sliding(240, 30), Sliding(1440, 60)]
