"""One server a SQLite file: the lock file beside it."""

import fcntl
import os

from reallot.storage.errors import DatabaseLocked, StorageUnavailable


def hold(path: str) -> int:
    """Hold the lock file beside the database at `path` and return its descriptor; it is free again when that is closed or the process
    ends, however it ends.

    Raises:
        DatabaseLocked: another process, which the text names, holds it.
        StorageUnavailable: there is no such folder, or it may not be written.
    """
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise DatabaseLocked(
            f"{path} is in use by another server (process {holder or 'unknown'}): SQLite serves one server a file"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
