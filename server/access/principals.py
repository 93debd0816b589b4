"""Who calls: principals with what they were granted. Knows nothing of how they prove who they are.

A grant is written WORKSPACE:ROLE, for sellers WORKSPACE:seller:SELLER_ID. `*` stands for every workspace.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

EVERYWHERE = "*"


class Role(StrEnum):
    """What somebody may do in a workspace."""

    VIEWER = "viewer"
    SELLER = "seller"
    INTEGRATOR = "integrator"
    ADMIN = "admin"
    OPERATOR = "operator"


class GrantError(ValueError):
    """A text is no grant."""


class Grant(NamedTuple):
    """A role in a workspace; `seller_id` names the seller that somebody is, "" for the other roles."""

    workspace: str
    role: Role
    seller_id: str = ""


class Standing(NamedTuple):
    """What somebody is in one workspace: roles, and the sellers that they are."""

    roles: frozenset[Role]
    sellers: frozenset[str]


NOBODY = Standing(frozenset(), frozenset())


@dataclass(frozen=True, eq=False)
class Principal:
    """Somebody who has proved who they are.

    Attributes:
        name: For logs and the audit log.
        grants: What they may do.
        expires_s: From when on the proof is worth nothing, in seconds since the epoch; None = it lasts.
        proof: What a file of principals must say for them to stand; "" for those who stand without one.
    """

    name: str
    grants: tuple[Grant, ...]
    expires_s: float | None = None
    proof: str = ""
    _standings: dict[str, Standing] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wide = [grant for grant in self.grants if grant.workspace == EVERYWHERE]
        standings = {EVERYWHERE: _standing(wide)}
        for workspace in {grant.workspace for grant in self.grants} - {EVERYWHERE}:
            standings[workspace] = _standing([*wide, *(grant for grant in self.grants if grant.workspace == workspace)])
        object.__setattr__(self, "_standings", standings)

    def standing(self, workspace: str) -> Standing:
        """Return what they are in a workspace, whether it exists or not."""
        return self._standings.get(workspace, self._standings[EVERYWHERE])

    @property
    def roles_anywhere(self) -> frozenset[Role]:
        """The roles that they have in any workspace."""
        return frozenset(grant.role for grant in self.grants)


def read_grant(text: str) -> Grant:
    """Return the grant that a text says.

    Raises:
        GrantError: it says none.
    """
    workspace, _, rest = text.partition(":")
    name, _, seller_id = rest.partition(":")
    roles = ", ".join(Role)
    if not workspace or name not in set(Role):
        raise GrantError(f"{text!r} is no grant: write WORKSPACE:ROLE with one of the roles {roles}")
    role = Role(name)
    if (role is Role.SELLER) != bool(seller_id):
        raise GrantError(f"{text!r} is no grant: sellers, and only they, are named: WORKSPACE:seller:SELLER_ID")
    if role is Role.SELLER and workspace == EVERYWHERE:
        raise GrantError(f"{text!r} is no grant: a seller belongs to one workspace")
    if role is Role.OPERATOR and workspace != EVERYWHERE:
        raise GrantError(f"{text!r} is no grant: operators have to do with the server, write *:operator")
    return Grant(workspace, role, seller_id)


def _standing(grants: Iterable[Grant]) -> Standing:
    found = list(grants)
    return Standing(frozenset(g.role for g in found), frozenset(g.seller_id for g in found if g.seller_id))
