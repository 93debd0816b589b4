"""Shares: what a rule has given to each of its pool, beside what was due to it.

While the pool and its weights stay the same, what is due to a seller is an exact fraction of all that was given, so only what was
given is counted. At a change the deviation, due less given, is carried over in fixed point and the count begins anew. Whoever comes in
begins where the others stand on average, however much or little that is: neither behind nor ahead of anybody.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from reallot.storage.among import among
from reallot.storage.dialect import delete_rows, fetched, upsert_rows
from reallot.storage.tables import shares

SCALE = 2**32
"""What one record is in `carried`; a unit of value is 1."""
_COLUMNS = ("workspace", "rule_id", "seller_id", "weight", "given", "carried")


class Share(NamedTuple):
    """What one rule has given to one seller.

    Attributes:
        rule_id: The rule, `segment/rule`.
        seller_id: The seller.
        weight: Its weight in the present pool; 0 = it is not in the pool.
        given: Records, or their values, given since the pool or its weights last changed.
        carried: What was due less what was given at that change, in parts of `SCALE`.
    """

    rule_id: str
    seller_id: str
    weight: int
    given: int
    carried: int


class SharePool(NamedTuple):
    """The sellers among whom a rule gave some records.

    Attributes:
        rule_id: The rule.
        members: Sellers and weights, by id.
        absent: Sellers who cannot be given anything by the rule at present: they are forgotten.
        full: Those who have no room any more once everything is given: they are forgotten then.
        scale: What one unit of what is given is in `carried`.
    """

    rule_id: str
    members: tuple[tuple[str, int], ...]
    absent: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    scale: int = SCALE

    def among(self, *, last: bool) -> "SharePool":
        """Return the pool as one of several parts of a plan takes it: who is full counts in the last."""
        return self if last else self._replace(full=())


class ShareAccount:
    """What one rule has given to whom. Belongs to one thread."""

    def __init__(self, rule_id: str, rows: Sequence[Share], scale: int = SCALE) -> None:
        self._rule_id = rule_id
        self._scale = scale
        self._rows = {row.seller_id: row for row in rows}

    @property
    def rows(self) -> Mapping[str, Share]:
        """The rows, by seller."""
        return self._rows

    def drop(self, sellers: Collection[str]) -> None:
        """Forget sellers: they begin anew when they come back."""
        gone = [seller for seller in sellers if seller in self._rows]
        if any(self._rows[seller].weight for seller in gone):
            self._close()
        for seller in gone:
            del self._rows[seller]

    def enter(self, pool: Mapping[str, int]) -> None:
        """Make `pool`, sellers with their weights, the present one; whoever is known brings the deviation along."""
        if {row.seller_id: row.weight for row in self._rows.values() if row.weight} == pool:
            return
        self._close()
        known = [seller for seller in pool if seller in self._rows]
        carried, weight = sum(self._rows[seller].carried for seller in known), sum(pool[seller] for seller in known)
        for seller in sorted(pool):
            before = self._rows.get(seller)
            brought = before.carried if before is not None else carried * pool[seller] // weight if weight else 0
            self._rows[seller] = Share(self._rule_id, seller, pool[seller], 0, brought)

    def give(self, counts: Mapping[str, int]) -> None:
        """Count what is given to members of the present pool: records, or their values."""
        for seller, count in counts.items():
            row = self._rows[seller]
            self._rows[seller] = row._replace(given=row.given + count)

    def take_back(self, counts: Mapping[str, int]) -> None:
        """Count what members of the pool were given as if they had not been: nothing of it was due to anybody either."""
        known = {seller: count for seller, count in counts.items() if seller in self._rows}
        if any(count > self._rows[seller].given for seller, count in known.items()):
            # It was given before the pool or its weights changed: what is too much by now is owed to them.
            self._close()
            for seller, count in known.items():
                row = self._rows[seller]
                self._rows[seller] = row._replace(carried=row.carried + self._scale * count)
            return
        self.give({seller: -count for seller, count in known.items()})

    def _close(self) -> None:
        """End the present pool: deviations are carried over."""
        pool = [row for row in self._rows.values() if row.weight]
        given, weight = sum(row.given for row in pool), sum(row.weight for row in pool)
        for row in pool:
            deviation = row.carried + self._scale * given * row.weight // weight - self._scale * row.given
            self._rows[row.seller_id] = row._replace(weight=0, given=0, carried=deviation)


class ShareRepository:
    """Shares of all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, workspace: str, rule_ids: Collection[str]) -> list[Share]:
        """Return what some rules have given, by rule and seller."""
        if not rule_ids:
            return []
        wanted = select(*(shares.c[name] for name in _COLUMNS[1:])).where(shares.c.workspace == workspace)
        wanted = wanted.where(among(shares.c.rule_id, rule_ids)).order_by(shares.c.rule_id, shares.c.seller_id)
        return [Share(*row) for row in fetched(self._connection, wanted)]

    def count(self, workspace: str, pools: Sequence[SharePool], given: Sequence[tuple[int, str, int]]) -> None:
        """Count what was given: position of the pool, seller, number or value of records; pools that gave nothing are passed over."""
        by_pool = [(pools[pool], {line[1]: line[2] for line in lines}) for pool, lines in groupby(sorted(given), key=itemgetter(0))]
        stored = self.of(workspace, {pool.rule_id for pool, _ in by_pool})
        for rule_id in sorted({pool.rule_id for pool, _ in by_pool}):
            before = [row for row in stored if row.rule_id == rule_id]
            own = [(pool, counts) for pool, counts in by_pool if pool.rule_id == rule_id]
            account = ShareAccount(rule_id, before, own[0][0].scale)
            for pool, counts in own:
                account.drop(pool.absent)
                account.enter(dict(pool.members))
                account.give(counts)
            account.drop({seller for pool, _ in own for seller in pool.full})
            self._store(workspace, before, account)

    def take_back(self, workspace: str, rule_id: str, counts: Mapping[str, int], scale: int = SCALE) -> None:
        """Count what a rule gave to sellers, records or their values, as if it had not."""
        before = self.of(workspace, [rule_id])
        account = ShareAccount(rule_id, before, scale)
        account.take_back(counts)
        self._store(workspace, before, account)

    def _store(self, workspace: str, before: Sequence[Share], account: ShareAccount) -> None:
        known = set(before)
        changed = [(workspace, *row) for _, row in sorted(account.rows.items()) if row not in known]
        upsert_rows(self._connection, shares, _COLUMNS, changed)
        gone = [(workspace, row.rule_id, row.seller_id) for row in before if row.seller_id not in account.rows]
        delete_rows(self._connection, shares, _COLUMNS[:3], gone)

    def keep(self, workspace: str, rule_ids: Collection[str]) -> None:
        """Forget what all other rules have given."""
        stored = self._connection.execute(select(shares.c.rule_id).where(shares.c.workspace == workspace).distinct())
        gone = {rule_id for (rule_id,) in stored} - set(rule_ids)
        if gone:
            self._connection.execute(delete(shares).where(shares.c.workspace == workspace, among(shares.c.rule_id, gone)))
