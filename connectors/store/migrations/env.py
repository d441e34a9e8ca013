"""Run by Alembic: migrates over the connection that it was given, in that one's transaction."""

from alembic import context

from connectors.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
