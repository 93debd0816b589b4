"""The event log and the sellers' notices."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.storage import Database
from reallot.storage.entities import EventDraft, NoticeDraft
from support.cases import cases
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


def test_a_page_of_the_log_has_events_and_the_notices_of_everybody(db: Database, ws: str) -> None:
    append(db, ws, an_event("a", notify=["ann"]), an_event("b", notify=["zoe", "ben"]), digest("ann"), an_event("c", notify=["ann"]))
    append(db, ws, digest("zoe"))
    pages = [db.read(lambda tx, after=after, limit=limit: tx.events.page(ws, after, limit)) for after, limit in ((1, 3), (1, 9), (5, 9))]
    assert [page.up_to for page in pages] == [4, 5, 5]
    assert [[e.draft.record_id for e in page.events] for page in pages] == [["b", "c"], ["b", "c"], []]
    notices = [[(n.number, n.seller_id, n.event and n.event.draft.record_id) for n in page.notices] for page in pages]
    first = [(2, "ben", "b"), (2, "zoe", "b"), (3, "ann", None), (4, "ann", "c")]
    assert notices == [first, [*first, (5, "zoe", None)], []]


def test_a_page_for_some_sellers_has_what_concerns_them(db: Database, ws: str) -> None:
    append(db, ws, an_event("a"), an_event("b", notify=["zoe", "ben"]), digest("ann"), an_event("c", notify=["ann"]), digest("zoe"))
    page = db.read(lambda tx: tx.events.page(ws, 0, 99, only_for={"ben", "ann"}))
    assert (page.up_to, [e.draft.record_id for e in page.events]) == (5, ["b", "c"])
    assert [(n.number, n.seller_id) for n in page.notices] == [(2, "ben"), (3, "ann"), (4, "ann")]
    assert page.notices[0].event is page.events[0]


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


def test_what_was_forgotten_before_is_not_kept_again(db: Database, ws: str) -> None:
    append(db, ws, *(an_event(str(n)) for n in range(4)))
    db.write(ws, lambda tx: tx.events.forget(ws, 3))
    assert db.write(ws, lambda tx: tx.events.forget(ws, 2)) == 0
    assert db.read(lambda tx: tx.events.first_retained(ws)) == 4


AGES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=8)


@settings(max_examples=cases(40), deadline=None)
@given(AGES, st.integers(0, 6), st.integers(1, 4))
def test_only_the_beginning_of_the_log_that_is_old_enough_is_outdated(
    db: Database, fresh_ws: Callable[[], str], told: list[tuple[bool, int]], before_us: int, most: int
) -> None:
    """Also of digests, which have no event, and where a clock went back."""
    ws = fresh_ws()
    append(db, ws, *(an_event(time_us=age) if is_event else replace(digest(), time_us=age) for is_event, age in told))
    left = [age for _, age in told]
    while up_to := db.read(lambda tx: tx.events.outdated(ws, before_us, most)):
        first = len(told) - len(left) + 1
        assert first <= up_to < first + most
        db.write(ws, lambda tx, up_to=up_to: tx.events.forget(ws, up_to))
        assert all(age < before_us for age in left[: up_to - first + 1])
        del left[: up_to - first + 1]
    assert not left or left[0] >= before_us
    assert db.read(lambda tx: tx.events.first_retained(ws)) == len(told) - len(left) + 1


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
