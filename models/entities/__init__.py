"""Which companies a message speaks of: cashtags, tickers and names, at the message's date."""

from models.entities.recogniser import Mention, Recogniser, Recognition
from models.entities.table import Company, Table, TableError

__all__ = ["Company", "Mention", "Recogniser", "Recognition", "Table", "TableError"]
