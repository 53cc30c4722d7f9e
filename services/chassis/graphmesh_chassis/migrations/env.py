"""Alembic's environment: runs the migrations on the connection that `upgrade` passes."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
