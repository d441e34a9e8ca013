"""Brings a database to the current schema with Alembic; needs no alembic.ini."""

from pathlib import Path

from sqlalchemy import Connection

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Runs the migrations that are missing, inside the transaction of `connection`."""
    # Slow to import, and not needed where the schema is current.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
