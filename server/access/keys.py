"""Public keys of whoever issues tokens: a JWKS from a file or over HTTPS, read again when it has aged or a key is missing."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from jwt import PyJWK, PyJWTError

log = structlog.get_logger("reallot.access")

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signatures of which the server knows only the public half."""
PATIENCE_S = 5.0
LARGEST_BYTES = 1024 * 1024
SOONEST_AGAIN_S = 10.0
"""Whoever shows tokens of unknown keys does not make the server ask for keys more often than this."""


class KeysUnavailable(Exception):
    """There are no keys at the moment."""


class Keys:
    """The keys of a JWKS by their id. Thread-safe; reading may block."""

    def __init__(self, source: str, refresh_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Take keys from a file or URL, and look again after `refresh_s`.

        Raises:
            ValueError: the source is neither a file nor an HTTPS URL (HTTP is for this machine only).
        """
        self._source = source
        self._refresh_s = refresh_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._read_s: float | None = None
        check_source(source)

    def load(self) -> None:
        """Read the keys now.

        Raises:
            KeysUnavailable: they cannot be read, or there is none that can be used.
        """
        with self._lock:
            self._load()

    def of(self, key_id: str | None) -> PyJWK | None:
        """Return the key of an id, or the only one if a token names none; None if there is no such key.

        Raises:
            KeysUnavailable: no keys could be read so far.
        """
        with self._lock:
            age_s = float("inf") if self._read_s is None else self._now_s() - self._read_s
            found = self._find(key_id)
            if age_s >= self._refresh_s or (found is None and age_s >= SOONEST_AGAIN_S):
                try:
                    self._load()
                except KeysUnavailable as error:
                    if not self._keys:
                        raise
                    log.warning("the keys stay as they were", fault=str(error))
                found = self._find(key_id)
            if not self._keys:
                raise KeysUnavailable(f"{self._source} has not been read yet")
            return found

    def _find(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _load(self) -> None:
        self._read_s = self._now_s()
        try:
            found = json.loads(_fetched(self._source))
            entries = found["keys"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeysUnavailable(f"{self._source}: {error}") from error
        keys = dict(pair for pair in map(_usable, entries) if pair is not None)
        if not keys:
            raise KeysUnavailable(f"{self._source}: no key that can be used ({', '.join(sorted(ALGORITHMS))})")
        self._keys = keys


def check_source(source: str) -> None:
    """Do nothing if keys may be taken from a source.

    Raises:
        ValueError: it is a URL that anybody on the way could answer for.
    """
    url = urllib.parse.urlsplit(source)
    if url.scheme in ("", "https") or (url.scheme == "http" and url.hostname in ("localhost", "127.0.0.1", "::1")):
        return
    raise ValueError(f"{source!r}: keys are taken from a file or an https URL")


def _usable(entry: Any) -> tuple[str, PyJWK] | None:
    """Return a key with its id; None for one that is not for signatures, or of a kind that is not taken."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(entry)
    except PyJWTError as error:
        log.warning("a key is passed over", key=str(entry.get("kid")), fault=str(error))
        return None
    return (key.key_id or "", key) if key.algorithm_name in ALGORITHMS else None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nobody elsewhere."""


def _fetched(source: str) -> bytes:
    if not urllib.parse.urlsplit(source).scheme:
        return Path(source).read_bytes()
    with urllib.request.build_opener(_NoRedirects).open(source, timeout=PATIENCE_S) as answer:
        content: bytes = answer.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError("the answer is too large for a set of keys")
    return content
