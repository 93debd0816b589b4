"""Alembic's entry point: runs the migrations on the database that the caller names."""

from alembic import context

from reallot.storage.dialect import make_engine
from reallot.storage.migrations.served import note
from reallot.storage.tables import metadata


def run() -> None:
    """Run the wanted migrations in one transaction."""
    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise RuntimeError("no database URL was given")
    engine = make_engine(url, writes=True, pool_size=1)
    try:
        with engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=metadata,
                render_as_batch=connection.dialect.name == "sqlite",
                compare_server_default=True,
                # SQLite undoes table changes, too, once a transaction is begun explicitly as the engine does.
                transactional_ddl=True,
            )
            with context.begin_transaction():
                context.run_migrations()
                note(connection, context.script.walk_revisions())
    finally:
        engine.dispose()


run()
