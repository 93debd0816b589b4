"""The audit log is only added to: what a unit of work has signed for stands there once it is committed, and stays."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from reallot.storage import Database, WriteTransaction
from reallot.storage.entities import AuditEntry, Seller, Signature

ANA = Signature("ana", "ipv4:10.0.0.1:7", "SellerService.UpsertSellers", "the board", "she joined")


def signed(work: Callable[[WriteTransaction], object], signature: Signature = ANA) -> Callable[[WriteTransaction], object]:
    def signing(tx: WriteTransaction) -> object:
        tx.audit.sign(signature, tx.now_us)
        return work(tx)

    return signing


def log_of(db: Database, workspace: str, **wanted: object) -> list[AuditEntry]:
    return db.read(lambda tx: tx.audit.page(workspace, 0, 100, **wanted))  # type: ignore[arg-type]


def test_what_is_signed_for_is_noted_with_before_and_after_and_nothing_else(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.sellers.upsert(ws, [Seller("bob")]))
    db.write(ws, signed(lambda tx: tx.sellers.upsert(ws, [Seller("ann"), Seller("bob", priority=9)])))
    db.write(ws, signed(lambda tx: tx.sellers.upsert(ws, [Seller("ann")])))
    db.write(ws, signed(lambda tx: tx.sellers.delete(ws, ["ann", "nobody"]), Signature("eve", "", "SellerService.DeleteSellers")))
    found = log_of(db, ws)
    assert [(e.principal, e.kind, e.id, bool(e.before), bool(e.after)) for e in found] == [
        ("ana", "seller", "ann", False, True),
        ("ana", "seller", "bob", True, True),
        ("eve", "seller", "ann", True, False),
    ]
    assert (found[0].origin, found[0].method, found[0].on_behalf_of, found[0].remark) == (ANA.origin, ANA.method, "the board", "she joined")
    assert log_of(db, ws, principal="eve") == found[2:]
    assert log_of(db, ws, name="bob") == found[1:2]
    assert log_of(db, ws, from_us=found[2].time_us + 1) == []
    assert log_of(db, ws, to_us=found[0].time_us) == []
    assert log_of(db, "other") == []


def test_what_is_undone_is_not_noted(db: Database, ws: str) -> None:
    def fail(tx: WriteTransaction) -> None:
        tx.sellers.upsert(ws, [Seller("ann")])
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        db.write(ws, signed(fail))
    assert log_of(db, ws) == []


@pytest.mark.parametrize("statement", ["UPDATE audit SET principal = 'eve'", "DELETE FROM audit"])
def test_the_database_refuses_to_change_the_log(db: Database, ws: str, statement: str) -> None:
    db.write(ws, signed(lambda tx: tx.sellers.upsert(ws, [Seller("ann")])))
    before = log_of(db, ws)
    with pytest.raises(Exception, match="only added to"):
        db.write(ws, lambda tx: tx.connection.execute(text(statement)))
    assert log_of(db, ws) == before
