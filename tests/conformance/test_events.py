"""The event log and the sellers' notices."""

import pytest

from reallot.storage import Database
from reallot.storage.entities import EventDraft, NoticeDraft
from support.rows import a_record, an_event, create


def append(db: Database, ws: str, *drafts: EventDraft | NoticeDraft) -> None:
    db.write(ws, lambda tx: tx.events.append(ws, drafts))


def digest(seller_id: str = "ann", **body: int) -> NoticeDraft:
    return NoticeDraft(seller_id, "DIGEST", 7, body)


def numbers_of(db: Database, ws: str, seller_id: str, *, after: int = 0, unread_only: bool = False) -> list[int]:
    notices = db.read(lambda tx: tx.events.notices_after(ws, seller_id, after, 99, unread_only=unread_only))
    return [notice.number for notice in notices]


def test_an_event_is_read_as_it_was_told(db: Database, ws: str) -> None:
    told = EventDraft("RESEGMENTED", "r1", "lead", 5, {"s": 1}, {"s": 2}, ("country",), {"kind": "UPDATED"}, "run-1", {"text": "é"})
    append(db, ws, told)
    assert [(e.number, e.draft) for e in db.read(lambda tx: tx.events.after(ws, 0, 9))] == [(1, told)]


def test_numbers_grow_by_one_in_the_order_told(db: Database, ws: str) -> None:
    append(db, ws, an_event("a"), an_event("b"))
    append(db, ws, an_event("c"))
    assert [(e.number, e.draft.record_id) for e in db.read(lambda tx: tx.events.after(ws, 0, 9))] == [(1, "a"), (2, "b"), (3, "c")]
    assert db.read(lambda tx: tx.events.last(ws)) == 3


def test_reading_goes_on_after_a_number(db: Database, ws: str) -> None:
    append(db, ws, *(an_event(str(n)) for n in range(1, 6)))
    assert [e.number for e in db.read(lambda tx: tx.events.after(ws, 2, 2))] == [3, 4]
    assert db.read(lambda tx: tx.events.after(ws, 5, 2)) == []


def test_each_workspace_counts_for_itself(db: Database, ws: str) -> None:
    append(db, ws, an_event())
    append(db, ws + "-b", an_event())
    assert db.read(lambda tx: (tx.events.last(ws), tx.events.last(ws + "-b"), tx.events.last(ws + "-c"))) == (1, 1, 0)


def test_a_seller_is_notified_once_under_the_events_number(db: Database, ws: str) -> None:
    append(db, ws, an_event("a", notify=["ann", "ben", "ann"]), an_event("b", notify=["ben"]))
    assert (numbers_of(db, ws, "ann"), numbers_of(db, ws, "ben")) == ([1], [1, 2])
    told = db.read(lambda tx: tx.events.notices_after(ws, "ann", 0, 9))[0].event
    assert told is not None
    assert (told.number, told.draft.record_id) == (1, "a")


def test_a_digest_takes_a_number_of_its_own(db: Database, ws: str) -> None:
    append(db, ws, an_event("a"), digest(gained=3), an_event("b"))
    assert [e.number for e in db.read(lambda tx: tx.events.after(ws, 0, 9))] == [1, 3]
    notice = db.read(lambda tx: tx.events.notices_after(ws, "ann", 0, 9))[0]
    assert (notice.number, notice.event, notice.body) == (2, None, {"gained": 3})


def test_notices_of_everybody_are_read_between_numbers(db: Database, ws: str) -> None:
    append(db, ws, an_event("a", notify=["ann"]), an_event("b", notify=["zoe", "ben"]), digest("ann"), an_event("c", notify=["ann"]))
    found = db.read(lambda tx: tx.events.notices_between(ws, 1, 3))
    assert [(n.number, n.seller_id) for n in found] == [(2, "ben"), (2, "zoe"), (3, "ann")]


def test_acknowledged_notices_are_not_unread(db: Database, ws: str) -> None:
    append(db, ws, *(an_event(str(n), notify=["ann", "ben"]) for n in range(5)))
    assert db.write(ws, lambda tx: tx.events.acknowledge(ws, "ann", [2, 5, 77], 0, 40)) == 2
    assert db.write(ws, lambda tx: tx.events.acknowledge(ws, "ann", [3], 3, 50)) == 2
    assert numbers_of(db, ws, "ann", unread_only=True) == [4]
    assert db.read(lambda tx: (tx.events.unread(ws, "ann"), tx.events.unread(ws, "ben"))) == (1, 5)


def test_a_notice_is_acknowledged_once(db: Database, ws: str) -> None:
    append(db, ws, an_event(notify=["ann"]))
    assert [db.write(ws, lambda tx, at=at: tx.events.acknowledge(ws, "ann", [1], 0, at)) for at in (40, 50)] == [1, 0]
    assert db.read(lambda tx: tx.events.notices_after(ws, "ann", 0, 9))[0].acknowledged_us == 40


def test_what_is_forgotten_is_gone_and_the_numbers_go_on(db: Database, ws: str) -> None:
    append(db, ws, *(an_event(str(n), notify=["ann"]) for n in range(4)))
    assert db.write(ws, lambda tx: tx.events.forget(ws, 3)) == 3
    assert db.read(lambda tx: (tx.events.first_retained(ws), tx.events.last(ws))) == (4, 4)
    assert numbers_of(db, ws, "ann") == [4]
    db.write(ws, lambda tx: tx.events.forget(ws, 4))
    assert db.read(lambda tx: tx.events.first_retained(ws)) == 5


def test_a_log_that_begins_with_a_digest_has_lost_nothing(db: Database, ws: str) -> None:
    append(db, ws, digest(), an_event())
    assert db.read(lambda tx: tx.events.first_retained(ws)) == 1


def test_nothing_is_retained_before_the_first_event(db: Database, ws: str) -> None:
    assert db.read(lambda tx: (tx.events.first_retained(ws), tx.events.last(ws))) == (1, 0)


def test_a_reader_cannot_tell_events(db: Database, ws: str) -> None:
    with pytest.raises(TypeError, match="cannot append"):
        db.read(lambda tx: tx.events.append(ws, [an_event()]))


def test_a_records_event_is_told_with_its_change(db: Database, ws: str) -> None:
    create(db, ws, a_record(), event=an_event())
    assert db.read(lambda tx: tx.events.last(ws)) == 1
