"""What sellers are held to: what they ask must be about themselves, or about a record that they own.

What is refused looks the same whether it exists or not.
"""

from abc import ABC, abstractmethod
from collections.abc import Set
from typing import Any

import grpc

from reallot.server.errors import ApiError


def denied(method: str) -> ApiError:
    """Return PERMISSION_DENIED, which tells nothing of what there is."""
    text = "the caller may not do this here"
    return ApiError(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", text, metadata={"method": method})


class Own(ABC):
    """Holds a seller's request to what is the seller's.

    Attributes:
        offered: Whether a record that is offered to the seller will do, too.
    """

    offered = False

    @abstractmethod
    def hold(self, method: str, request: Any, sellers: Set[str]) -> str | None:
        """Return the id of the record that the seller must own; None if nothing more is to be known. May narrow the request.

        Raises:
            ApiError: the request is about somebody else.
        """


class OwnSeller(Own):
    """A field, or a list, names sellers: only oneself."""

    def __init__(self, field: str) -> None:
        self._field = field

    def hold(self, method: str, request: Any, sellers: Set[str]) -> str | None:  # noqa: D102
        value = getattr(request, self._field)
        named = [value] if isinstance(value, str) else list(value)
        if not named or not set(named) <= sellers:
            raise denied(method)
        return None


class OwnRecord(Own):
    """`record_id` names a record: only one's own. Fields in `without` are set to what they are here."""

    def __init__(self, *, offered: bool = False, **without: Any) -> None:
        self.offered = offered
        self._without = without

    def hold(self, method: str, request: Any, sellers: Set[str]) -> str | None:  # noqa: D102
        record_id: str = request.record_id
        if not record_id:
            raise denied(method)
        for name, value in self._without.items():
            setattr(request, name, value)
        return record_id


class OwnOffer(OwnSeller):
    """`seller_id` names oneself, `record_id` a record that is offered to oneself."""

    offered = True

    def hold(self, method: str, request: Any, sellers: Set[str]) -> str | None:  # noqa: D102
        super().hold(method, request, sellers)
        if not request.record_id:
            raise denied(method)
        return str(request.record_id)


class OwnList(Own):
    """A list of records: those of an owner, who is oneself."""

    def hold(self, method: str, request: Any, sellers: Set[str]) -> str | None:  # noqa: D102
        if request.unowned or (request.HasField("owner") and request.owner.seller_id not in sellers):
            raise denied(method)
        if not request.HasField("owner"):
            if len(sellers) != 1:
                raise denied(method)
            request.owner.seller_id = next(iter(sellers))
        return None
