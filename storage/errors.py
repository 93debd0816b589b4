"""What can go wrong with the truth.

StorageError
├── NotFound             a resource that must exist does not
│   └── WorkspaceMissing nobody made the workspace, and writes do not
├── AlreadyExists        a resource that must not exist does
├── VersionConflict      a row changed since it was read
├── SchemaMismatch       the database has another schema than this program
├── DatabaseLocked       another server process has the file
├── DatabaseDamaged      a file is no sound database of this program
├── LeaseLost            this server does not work the workspace any more
│   └── WorkspaceDeleted nobody does: it was deleted
├── StorageBusy          too many writes wait already
└── StorageUnavailable   the database cannot be reached or written
"""


class StorageError(Exception):
    """Anything that storage refuses."""


class NotFound(StorageError):
    """A resource that must exist does not."""

    def __init__(self, kind: str, resource_id: str) -> None:
        super().__init__(f"{kind} {resource_id!r} does not exist")
        self.kind = kind
        self.id = resource_id


class WorkspaceMissing(NotFound):
    """Nobody made the workspace, and this server makes none for those who write to it; nothing was written."""

    def __init__(self, workspace: str) -> None:
        super().__init__("workspace", workspace)


class AlreadyExists(StorageError):
    """A resource that must not exist does."""


class VersionConflict(StorageError):
    """A row changed since it was read."""


class SchemaMismatch(StorageError):
    """The database has another schema than this program; the text names the command that mends it."""


class DatabaseLocked(StorageError):
    """Another server process has the database file."""


class DatabaseDamaged(StorageError):
    """A file is no sound database of this program; the text says what was found."""


class LeaseLost(StorageError):
    """This server does not work the workspace any more; nothing was written."""

    def __init__(self, workspace: str, text: str = "is worked by another server") -> None:
        super().__init__(f"the workspace {workspace!r} {text}")
        self.workspace = workspace


class WorkspaceDeleted(LeaseLost):
    """The workspace was deleted, and takes no writes from anybody; nothing was written."""

    def __init__(self, workspace: str, text: str = "was deleted") -> None:
        super().__init__(workspace, text)


class StorageBusy(StorageError):
    """Too many writes wait already; this one was not queued. `retry_after_s` is about how long they take."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting} writes wait already")
        self.retry_after_s = retry_after_s


class StorageUnavailable(StorageError):
    """The database cannot be reached or written at the moment."""
