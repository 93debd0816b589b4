"""What a worker process reads: snapshots of the database with the configuration that they hold. Belongs to one thread."""

from collections.abc import Callable
from typing import TypeVar

from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import Database, ReadTransaction
from reallot.storage.errors import StorageError, StorageUnavailable

T = TypeVar("T")


class Snapshots:
    """Opens the database when it is first read, and keeps compiled configurations."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database: Database | None = None
        self._configs: dict[str, WorkspaceConfig] = {}

    def read(self, workspace: str, function: Callable[[ReadTransaction, WorkspaceConfig], T]) -> T:
        """Run a function on a snapshot.

        Raises:
            StorageUnavailable: the database cannot be opened or read.
        """
        if self._database is None:
            # Here, so that a database that cannot be opened at the moment fails the task and not the process.
            try:
                self._database = Database(self._url, clock_us=lambda: 0, read_only=True, readers=1)
            except StorageError as error:
                raise StorageUnavailable(str(error)) from error
        return self._database.read(lambda tx: function(tx, self._config(tx, workspace)))

    def _config(self, tx: ReadTransaction, workspace: str) -> WorkspaceConfig:
        version = tx.config.version(workspace)
        known = self._configs.get(workspace)
        if known is None or known.version != version:
            known = self._configs[workspace] = WorkspaceConfig.of(workspace, version, tx.config.resources(workspace))
        return known
