"""Alembic's entry point: runs the migrations on the database that the caller names."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from reallot.storage.tables import metadata


def run() -> None:
    """Run the wanted migrations in one transaction."""
    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise RuntimeError("no database URL was given")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
