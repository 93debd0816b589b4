"""Who shows a token or a certificate. Signed tokens are verified once, away from the event loop, and then known for a while."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc

from reallot.server.access.directory import Directory
from reallot.server.access.principals import Principal
from reallot.server.errors import ApiError
from reallot.server.settings import Settings

if TYPE_CHECKING:
    from reallot.server.access.signed import SignedTokens

KNOWN_S = 300.0
"""How long a verified token is known without another look at it: keys that are withdrawn count for as long."""
MOST_KNOWN = 10_000
VERIFIERS = 2


def unauthenticated(reason: str, text: str) -> ApiError:
    """Return UNAUTHENTICATED."""
    return ApiError(grpc.StatusCode.UNAUTHENTICATED, reason, text)


def missing() -> ApiError:
    """Return what a caller without a token or certificate is told."""
    return unauthenticated("CREDENTIALS_MISSING", "a bearer token is needed")


def unknown() -> ApiError:
    """Return what a caller is told whose token or certificate is not accepted."""
    return unauthenticated("CREDENTIALS_INVALID", "the token or certificate is not accepted")


def expired() -> ApiError:
    """Return what a caller is told whose token was good once."""
    return unauthenticated("TOKEN_EXPIRED", "the token has expired")


class _Known(NamedTuple):
    principal: Principal
    until_s: float


class Authenticator:
    """Finds principals. Belongs to the event loop."""

    def __init__(self, directory: Directory | None, signed: "SignedTokens | None", now_s: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._signed = signed
        self._now_s = now_s
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._verifiers = ThreadPoolExecutor(VERIFIERS, thread_name_prefix="reallot-verify") if signed else None

    @property
    def takes_certificates(self) -> bool:
        """Whether a certificate may be all that a caller shows."""
        return self.directory is not None and self.directory.knows_certificates

    def known(self, token: str) -> Principal | None:
        """Return who shows a token, if that is known at once."""
        digest = hashlib.sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is not None:
            if found.until_s > self._now_s():
                return found.principal
            del self._known[digest]
        principal = self.directory.of_token(digest.hex()) if self.directory is not None else None
        return None if principal is None or self.has_expired(principal) else principal

    async def of_token(self, token: str) -> Principal:
        """Return who shows a token.

        Raises:
            ApiError: UNAUTHENTICATED, it is not accepted; UNAVAILABLE, it cannot be verified at the moment.
        """
        if (principal := self.known(token)) is not None:
            return principal
        digest = hashlib.sha256(token.encode()).digest()
        if self.directory is not None and self.directory.of_token(digest.hex()) is not None:
            raise expired()
        if self._signed is None or token.count(".") != 2:
            raise unknown()
        principal = await self._verified(self._signed, token)
        now_s = self._now_s()
        self._known[digest] = _Known(principal, min(principal.expires_s or now_s, now_s + KNOWN_S))
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return principal

    async def _verified(self, signed: "SignedTokens", token: str) -> Principal:
        from reallot.server.access.keys import KeysUnavailable
        from reallot.server.access.signed import TokenRefused

        try:
            return await asyncio.get_running_loop().run_in_executor(self._verifiers, signed.verify, token)
        except TokenRefused as error:
            raise (expired() if error.expired else unknown()) from None
        except KeysUnavailable:
            text = "the keys of the tokens' issuer cannot be read at the moment"
            raise ApiError(grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE", text, retry_after_s=1.0) from None

    def of_certificate(self, shown: Mapping[str, Iterable[bytes]]) -> Principal:
        """Return who has the certificate of a connection (`auth_context`).

        Raises:
            ApiError: UNAUTHENTICATED, there is none, or it is nobody's.
        """
        names = list(shown.get("x509_subject_alternative_name", ())) or list(shown.get("x509_common_name", ()))
        if not names:
            raise missing()
        for name in names:
            found = self.directory.of_certificate(name.decode("utf-8", "replace")) if self.directory is not None else None
            if found is not None:
                return found
        raise unknown()

    def has_expired(self, principal: Principal) -> bool:
        """Tell whether what somebody has shown is worth nothing any more."""
        return principal.expires_s is not None and principal.expires_s <= self._now_s()

    def left_s(self, principal: Principal) -> float | None:
        """Return for how many seconds what somebody has shown is still good; None = without end."""
        return None if principal.expires_s is None else max(0.0, principal.expires_s - self._now_s())

    def stands(self, principal: Principal) -> bool:
        """Tell whether somebody who was found before would be found again."""
        return not principal.proof or (self.directory is not None and self.directory.stands(principal))

    def close(self) -> None:
        """End the threads that verify."""
        if self._verifiers is not None:
            self._verifiers.shutdown(wait=False, cancel_futures=True)


def authenticator_of(settings: Settings) -> Authenticator | None:
    """Return the authenticator that settings ask for; None if there is no authentication.

    Raises:
        ValueError: a file cannot be used.
    """
    if not settings.has_authentication:
        return None
    directory = Directory(Path(settings.principals_file)) if settings.principals_file else None
    return Authenticator(directory, _signed_tokens(settings) if settings.jwt_keys else None)


def _signed_tokens(settings: Settings) -> "SignedTokens":
    # Only servers that accept signed tokens need what verifies them.
    import structlog

    from reallot.server.access.keys import Keys, KeysUnavailable
    from reallot.server.access.signed import SignedTokens

    keys = Keys(settings.jwt_keys, settings.jwt_refresh_s)
    try:
        keys.load()
    except KeysUnavailable as error:
        if not settings.jwt_keys.startswith("http"):
            raise ValueError(str(error)) from None
        # The issuer may come up later than this server.
        structlog.get_logger("reallot.access").warning("no keys yet", fault=str(error))
    return SignedTokens(
        keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        skew_s=settings.jwt_clock_skew_s,
        claim=settings.jwt_grants_claim,
    )
