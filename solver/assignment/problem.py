"""The assignment problem as columns: classes of equal records, their options, capacity as a forest, policies as scopes."""

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reallot.solver.timetables import Timetables

Ints = npt.NDArray[np.int64]

LARGEST_COST = 2**40
"""Most that an option may cost at one level: sums over any number of records that fit into memory stay clear of overflow."""


LARGEST_HELD = 2**60
"""Most that a seller of a scope of even value may have been given before, and that all values of records together may be."""
LARGEST_HANDLING_US = 28 * 86_400_000_000
"""Most working time that one record may take."""


class InvalidProblem(ValueError):
    """Columns that contradict each other or lie outside their range; the text names the column."""


class Policy(enum.StrEnum):
    """How a scope hands out units, one after the other."""

    ROUND_ROBIN = "ROUND_ROBIN"
    """To the seller of the highest priority; among equals to the one whose last unit is oldest."""
    LOAD_BALANCING = "LOAD_BALANCING"
    """To the seller with the most free capacity; ties as in round robin."""
    WEIGHTED_SHARES = "WEIGHTED_SHARES"
    """In proportion to weights: nobody is ever a whole unit behind or ahead of the share; ties by priority."""
    EVEN_VALUE = "EVEN_VALUE"
    """So that the values that its sellers were given are as even as can be; there is no order of units to it."""
    EARLIEST_FIRST_CONTACT = "EARLIEST_FIRST_CONTACT"
    """To the seller who gets to it first, in working time and after what the seller has to do before; ties as in round robin."""


@dataclass(frozen=True)
class Shares:
    """How the sellers of a scope stand to their shares of what it gives.

    Attributes:
        weight: Weight, 1 or more: int64, shape (m,).
        given: Units given since the pool or its weights last changed: int64, shape (m,).
        carried: What was due less what was given at that change, in parts of `scale`: int64, shape (m,).
        scale: What one unit is in `carried`.
    """

    weight: Ints
    given: Ints
    carried: Ints
    scale: int

    def faults(self, sellers: int) -> bool:
        """Tell whether the columns make no sense for so many sellers."""
        if any(len(column) != sellers for column in (self.weight, self.given, self.carried)):
            return True
        return bool((self.weight < 1).any() or (self.given < 0).any() or self.scale < 1)


@dataclass(frozen=True)
class Contacts:
    """What the sellers of a scope have to do before they get to a further record.

    Attributes:
        owned: Records before it: int64, shape (m,).
        handling_us: Working time that each of them takes.
        timetables: When the sellers work, from the present instant on.
    """

    owned: Ints
    handling_us: int
    timetables: Timetables

    def faults(self, sellers: int) -> bool:
        """Tell whether the columns make no sense for so many sellers."""
        if len(self.owned) != sellers or len(self.timetables.table) != sellers:
            return True
        return bool((self.owned < 0).any() or not 1 <= self.handling_us <= LARGEST_HANDLING_US)


@dataclass(frozen=True)
class Holdings:
    """What the sellers of a scope of even value were given before.

    Attributes:
        held: Sum of values: int64, shape (m,).
    """

    held: Ints

    def faults(self, sellers: int) -> bool:
        """Tell whether the columns make no sense for so many sellers."""
        return len(self.held) != sellers or bool((abs(self.held) > LARGEST_HELD).any())


@dataclass(frozen=True)
class Scope:
    """A policy with its order: the sellers it serves, as they stood before the batch.

    Attributes:
        scope_id: Name, for the level's id.
        policy: The policy.
        seller: The sellers: int32, shape (m,), each once.
        priority: Higher is served first: int64, shape (m,).
        turn: Number of the seller's last unit, 0 = never: int64, shape (m,).
        free: Free capacity: int64, shape (m,); read by load balancing only.
        standing: How the sellers stand in what the policy counts; those that count anything but turns and free capacity must have it.
    """

    scope_id: str
    policy: Policy
    seller: npt.NDArray[np.int32]
    priority: Ints
    turn: Ints
    free: Ints
    standing: Shares | Contacts | Holdings | None = None

    def __post_init__(self) -> None:
        needed = NEEDED.get(self.policy)
        standing = self.standing
        if needed is not None and (standing is None or not isinstance(standing, needed) or standing.faults(len(self.seller))):
            raise InvalidProblem(f"scope {self.scope_id} of {self.policy} does not say how its sellers stand, or says what cannot be")


NEEDED: dict[Policy, type[Shares] | type[Contacts] | type[Holdings]] = {
    Policy.WEIGHTED_SHARES: Shares,
    Policy.EARLIEST_FIRST_CONTACT: Contacts,
    Policy.EVEN_VALUE: Holdings,
}
"""What scopes of a policy must have."""


@dataclass(frozen=True)
class Problem:
    """What is to be decided. n records in k classes with j options; c capacity nodes.

    Attributes:
        class_of: Class of each record: int32, shape (n,). Records of a class have the same options.
        priority: 100 = most urgent: int64, shape (n,).
        age_us: Instant from which the record's age counts; smaller is older: int64, shape (n,).
        key: Rank of the record's id, for the last tie-break: int64, shape (n,), each once.
        effort: Capacity units that a record of the class takes: int64, shape (k,).
        option_start: First option of each class: int64, shape (k + 1,).
        option_seller: Seller: int32, shape (j,).
        option_rank: Rank of the rule among the record's own matching rules, 0 first: int64, shape (j,), 0 … LARGEST_COST.
        option_bucket: Availability, 0 = now: int64, shape (j,), 0 … LARGEST_COST.
        option_fit: Cost of the fit: int64, shape (j,), 0 … LARGEST_COST.
        option_scope: Position in `scopes`, -1 = none: int32, shape (j,).
        option_cap: Capacity node at which a unit counts first, -1 = it passes all maxima: int32, shape (j,).
        cap_free: What is free at each capacity node; below 0 counts as 0: int64, shape (c,). A node belongs to one seller.
        cap_parent: The node around it, -1 = none: int32, shape (c,).
        scopes: In the order of their levels.
        option_continuity: Cost of not going on with whom it belongs to: int64, shape (j,), 0 … LARGEST_COST, or (0,) where nothing does.
        option_preferred: Cost of not being preferred: int64, likewise.
        value: Value of each record, which scopes of even value count: int64, shape (n,), or (0,) where none does.
        together: Number of the bundle of each record, below 0 = it goes alone: int64, shape (n,), or (0,) where all do. Records of one
            bundle all go to one seller, or none of them goes to anybody.

    Raises:
        InvalidProblem: the columns contradict each other.
    """

    class_of: npt.NDArray[np.int32]
    priority: Ints
    age_us: Ints
    key: Ints
    effort: Ints
    option_start: Ints
    option_seller: npt.NDArray[np.int32]
    option_rank: Ints
    option_bucket: Ints
    option_fit: Ints
    option_scope: npt.NDArray[np.int32]
    option_cap: npt.NDArray[np.int32]
    cap_free: Ints
    cap_parent: npt.NDArray[np.int32]
    scopes: tuple[Scope, ...] = ()
    option_continuity: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    option_preferred: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    value: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    together: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        records, classes, options = len(self.class_of), len(self.effort), len(self.option_seller)
        for name, length in (
            *((name, records) for name in ("priority", "age_us", "key")),
            *((f"option_{name}", options) for name in ("rank", "bucket", "fit", "scope", "cap")),
            *((f"option_{name}", options) for name in ("continuity", "preferred") if len(getattr(self, f"option_{name}"))),
            *((("together", records),) if len(self.together) else ()),
            ("option_start", classes + 1),
            ("cap_parent", len(self.cap_free)),
        ):
            if len(getattr(self, name)) != length:
                raise InvalidProblem(f"{name} has {len(getattr(self, name))} rows, expected {length}")
        for name, least, most in (
            ("class_of", 0, classes - 1),
            ("effort", 0, LARGEST_COST),
            ("option_seller", 0, np.iinfo(np.int32).max),
            *((f"option_{name}", 0, LARGEST_COST) for name in ("rank", "bucket", "fit", "continuity", "preferred")),
            ("option_scope", -1, len(self.scopes) - 1),
            ("option_cap", -1, len(self.cap_free) - 1),
            ("cap_parent", -1, len(self.cap_free) - 1),
        ):
            column = getattr(self, name)
            if len(column) and (int(column.min()) < least or int(column.max()) > most):
                raise InvalidProblem(f"{name} must lie in {least} … {most}, found {column.min()} … {column.max()}")
        if self.even_scopes and len(self.value) != records:
            raise InvalidProblem(f"value has {len(self.value)} rows, expected {records}")
        if len(self.value) and float(np.abs(self.value).sum(dtype=np.float64)) > LARGEST_HELD:
            raise InvalidProblem(f"value adds up to more than {LARGEST_HELD}")
        if self.option_start[0] != 0 or self.option_start[-1] != options or (np.diff(self.option_start) < 0).any():
            raise InvalidProblem("option_start must ascend from 0 to the number of options")
        self._check_references()

    def _check_references(self) -> None:
        scoped = np.flatnonzero(self.option_scope >= 0)
        if (self.places()[self.option_scope[scoped], self.option_seller[scoped]] < 0).any():
            raise InvalidProblem("option_scope names a scope that does not serve the option's seller")
        inside = np.flatnonzero(self.cap_parent >= 0)
        for _ in range(len(self.cap_parent)):
            if not len(inside):
                return
            inside = np.unique(self.cap_parent[inside])
            inside = inside[self.cap_parent[inside] >= 0]
        if len(inside):
            raise InvalidProblem("cap_parent goes round in a circle")

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.class_of)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.option_start) - 1

    @property
    def options(self) -> int:
        """Number of options."""
        return len(self.option_seller)

    def constant_levels(self) -> tuple[tuple[str, Ints], ...]:
        """Return names and costs by option of the levels between coverage and the policies, in order; the costs do not grow by unit."""
        return (
            ("rule_order", self.option_rank),
            ("availability", self.option_bucket),
            *((("continuity", self.option_continuity),) if len(self.option_continuity) else ()),
            *((("preferred", self.option_preferred),) if len(self.option_preferred) else ()),
            ("fit", self.option_fit),
        )

    @property
    def even_scopes(self) -> tuple[int, ...]:
        """Positions of the scopes of even value."""
        return tuple(index for index, scope in enumerate(self.scopes) if scope.policy is Policy.EVEN_VALUE)

    def ordered(self) -> npt.NDArray[np.int32]:
        """Return the scope of each option that hands out units in an order, -1 = none: int32, shape (j,)."""
        return np.where(np.isin(self.option_scope, self.even_scopes), -1, self.option_scope).astype(np.int32)

    def urgency(self) -> Ints:
        """Return the records from the most to the least urgent: by priority, then age, then key: int64, shape (n,)."""
        return np.lexsort((self.key, self.age_us, -self.priority))

    def weights(self) -> Ints:
        """Return what it costs to leave each record out: dense ranks of (priority, age), 1 = least urgent: int64, shape (n,).

        Sets of records that can be covered together form a transversal matroid, so the heaviest coverable set under any positive
        weights that grow with urgency is the lexicographically best one.
        """
        if not self.records:
            return np.zeros(0, dtype=np.int64)
        order = np.lexsort((self.age_us, -self.priority))
        priority, age = self.priority[order], self.age_us[order]
        differs = (priority[1:] != priority[:-1]) | (age[1:] != age[:-1])
        step = np.concatenate([[0], np.cumsum(differs)])
        weights = np.empty(self.records, dtype=np.int64)
        weights[order] = step[-1] - step + 1
        return weights

    def class_sizes(self) -> Ints:
        """Return the number of records of each class: int64, shape (k,)."""
        return np.bincount(self.class_of, minlength=self.classes).astype(np.int64)

    def class_of_option(self) -> npt.NDArray[np.int32]:
        """Return the class of each option: int32, shape (j,)."""
        return np.repeat(np.arange(self.classes, dtype=np.int32), np.diff(self.option_start))

    def places(self) -> Ints:
        """Return the place of each seller in each scope, -1 = not in it: int64, shape (scopes, sellers)."""
        highest = max(int(column.max(initial=-1)) for column in (self.option_seller, *(scope.seller for scope in self.scopes)))
        found = np.full((len(self.scopes), highest + 1), -1, dtype=np.int64)
        for index, scope in enumerate(self.scopes):
            found[index, scope.seller] = np.arange(len(scope.seller))
        return found
