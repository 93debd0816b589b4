"""Signed tokens (JWT): who issued them, for whom, until when, and what they grant. Expiry is that of the real clock, as of certificates."""

from collections.abc import Mapping
from typing import Any

import jwt
import structlog

from reallot.server.access.keys import ALGORITHMS, Keys
from reallot.server.access.principals import Grant, GrantError, Principal, read_grant

log = structlog.get_logger("reallot.access")


class TokenRefused(Exception):
    """A token is not accepted. `expired` tells whether that is all that is wrong with it."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("expired" if expired else "refused")
        self.expired = expired


class SignedTokens:
    """Verifies signed tokens. Thread-safe; fetching keys may block."""

    def __init__(self, keys: Keys, *, issuer: str, audience: str, skew_s: float, claim: str) -> None:
        """Accept tokens of an issuer for an audience; `claim` holds the grants, `skew_s` is how far clocks may differ."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._skew_s = skew_s
        self._claim = claim

    def verify(self, token: str) -> Principal:
        """Return who shows a token.

        Raises:
            TokenRefused: it is not accepted; the log tells why.
            KeysUnavailable: there are no keys at the moment.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.of(header.get("kid"))
            if key is None or key.algorithm_name not in ALGORITHMS:
                raise jwt.InvalidTokenError("no key of the issuer has signed it")
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._skew_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            grants = _grants(claims, self._claim)
        except jwt.ExpiredSignatureError:
            raise TokenRefused(expired=True) from None
        except (jwt.PyJWTError, GrantError) as error:
            log.info("a token is refused", fault=str(error))
            raise TokenRefused from None
        return Principal(str(claims["sub"]), grants, float(claims["exp"]) + self._skew_s)


def _grants(claims: Mapping[str, Any], claim: str) -> tuple[Grant, ...]:
    said = claims.get(claim, [])
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise GrantError(f"the claim {claim!r} is no list of grants")
    return tuple(read_grant(text) for text in said)
