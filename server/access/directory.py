"""The file of principals: static tokens, of which only hashes stand in it, and client certificates. Read again when it changes.

```toml
[[tokens]]
name = "crm"
sha256 = "…"                                # reallot token crm --grant default:integrator makes both
grants = ["default:integrator"]
expires = 2027-01-01T00:00:00Z              # optional

[[certificates]]
name = "monitor.example.com"                # an alternative name of the certificate; its common name, if it has none
grants = ["*:viewer"]
```
"""

import asyncio
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from reallot.server.access.principals import Grant, Principal, read_grant

log = structlog.get_logger("reallot.access")

LOOK_S = 2.0
"""How often the file is looked at."""


class DirectoryError(ValueError):
    """The file of principals cannot be used."""


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant needs a time zone, e.g. 2027-01-01T00:00:00Z")
    return value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    grants: list[str]

    def read(self) -> tuple[Grant, ...]:
        return tuple(read_grant(text) for text in self.grants)


class _Token(_Entry):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    expires: Annotated[datetime, AfterValidator(_zoned)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: list[_Token] = []
    certificates: list[_Entry] = []


class Directory:
    """The principals of a file, by the hash of their token or a name of their certificate. Belongs to the event loop."""

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            DirectoryError: it cannot be used.
        """
        self._path = path
        self._seen = _state_of(path)
        self._tokens, self._certificates = _read(path)

    @property
    def knows_certificates(self) -> bool:
        """Whether a certificate may be all that a caller shows."""
        return bool(self._certificates)

    def of_token(self, sha256: str) -> Principal | None:
        """Return who has the token with this hash, in hexadecimal digits."""
        return self._tokens.get(sha256)

    def of_certificate(self, name: str) -> Principal | None:
        """Return who has a certificate with this name."""
        return self._certificates.get(name)

    def stands(self, principal: Principal) -> bool:
        """Tell whether the file still says of somebody what it said."""
        found = self._tokens.get(principal.proof) or self._certificates.get(principal.proof)
        return found is not None and (found.name, found.grants, found.expires_s) == (principal.name, principal.grants, principal.expires_s)

    async def run_forever(self, changed: Callable[[], None]) -> None:
        """Look for changes of the file until cancelled; a file that cannot be used changes nothing, and is told in the log."""
        while True:
            await asyncio.sleep(LOOK_S)
            state = await asyncio.to_thread(_state_of, self._path)
            if state == self._seen:
                continue
            self._seen = state
            try:
                self._tokens, self._certificates = await asyncio.to_thread(_read, self._path)
            except DirectoryError as error:
                log.error("the principals stay as they were", fault=str(error))
                continue
            log.info("principals read", tokens=len(self._tokens), certificates=len(self._certificates))
            changed()


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[dict[str, Principal], dict[str, Principal]]:
    try:
        content = _File.model_validate(tomllib.loads(path.read_text("utf-8")))
        tokens = {
            entry.sha256: Principal(entry.name, entry.read(), entry.expires.timestamp() if entry.expires else None, entry.sha256)
            for entry in content.tokens
        }
        certificates = {entry.name: Principal(entry.name, entry.read(), proof=entry.name) for entry in content.certificates}
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise DirectoryError(f"{path}: {faults}") from None
    except (OSError, ValueError) as error:
        raise DirectoryError(f"{path}: {error}") from None
    names = Counter(entry.name for entry in (*content.tokens, *content.certificates))
    hashes = Counter(entry.sha256 for entry in content.tokens)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DirectoryError(f"{path}: {', '.join(twice)} stands there more than once")
    if any(count > 1 for count in hashes.values()):
        raise DirectoryError(f"{path}: two principals have the same token")
    return tokens, certificates
