"""The store: what the pipeline found and what people decided, in SQLite or PostgreSQL."""

from connectors.errors import StoreError
from connectors.store import schema
from connectors.store.store import Store
from connectors.store.transaction import Transaction

__all__ = ["Store", "StoreError", "Transaction", "schema"]
