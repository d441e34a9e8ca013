"""What the model says of a message: `Tags`, and the names that every part of the system uses."""

import msgspec

SENTIMENTS = ("negative", "neutral", "positive")
"""From an investor's side; the order of `Tags.sentiments`."""

TOPICS = (
    "Analyst Update",
    "Fed | Central Banks",
    "Company | Product News",
    "Treasuries | Corporate Debt",
    "Dividend",
    "Earnings",
    "Energy | Oil",
    "Financials",
    "Currencies",
    "General News | Opinion",
    "Gold | Metals | Materials",
    "IPO",
    "Legal | Regulation",
    "M&A | Investments",
    "Macro",
    "Markets",
    "Politics",
    "Personnel Change",
    "Stock Commentary",
    "Stock Movement",
)
"""The order of `Tags.topics`."""

HEADS = {"sentiment": SENTIMENTS, "topic": TOPICS}
"""The labels of each head, by the head's name."""

SCHEMA = 1


class ModelIdentity(msgspec.Struct, frozen=True):
    """Which weights spoke, and on which arithmetic: equal identities give equal tags, bit for bit.

    `checksum` is the SHA-256 of the weights; `numeric_path` names back end, version, precision and
    instruction set.
    """

    name: str
    version: str
    checksum: str
    numeric_path: str


class Tags(msgspec.Struct, frozen=True):
    """Sentiment and topic of one text, with calibrated probabilities rounded to six decimals.

    `sentiments` has 3 values in the order of `SENTIMENTS`, `topics` 20 in the order of `TOPICS`.
    `abstained`: the model is too unsure of the sentiment for it to count.
    """

    sentiment: str
    topic: str
    sentiments: tuple[float, ...]
    topics: tuple[float, ...]
    abstained: bool
    model: ModelIdentity
    schema: int = SCHEMA
