"""Alembic migrations of the store; run by `connectors.store.migration`."""
