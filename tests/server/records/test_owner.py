"""The owner is Reallot's: who may change it through an upsert, and what follows."""

import pytest

from reallot.v1 import record_service_pb2, seller_pb2, value_pb2
from support.api import a_row, a_seller_row, refusal, resource, seller_owner
from support.services import Api

CONFLICT = record_service_pb2.ConflictKind


@pytest.fixture
async def staffed(api: Api) -> Api:
    await api.hire(a_seller_row("ann", capacity=seller_pb2.Capacity(total=1)), a_seller_row("ben", capacity=seller_pb2.Capacity(total=1)))
    return api


def owner_of(api: Api, record_id: str = "r1") -> str:
    owner = api.stored(record_id).owner
    return owner.id if owner else ""


def notified(api: Api) -> list[tuple[str, str]]:
    found = [api.read(lambda tx, s=seller: tx.events.notices_after("default", s, 0, 1_000)) for seller in ("ann", "ben")]
    return [(notice.seller_id, notice.kind) for notice in sorted((n for notices in found for n in notices), key=lambda n: n.number)]


async def test_the_first_owner_is_taken_as_it_is(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    assert (owner_of(staffed), staffed.stored().assignment) == ("ann", "ASSIGNED_MANUALLY")
    assert staffed.kinds() == ["ASSIGNED"]


async def test_first_owners_may_come_above_the_maximum(staffed: Api) -> None:
    results = await staffed.upsert(*(a_row(f"r{i}", owner=seller_owner("ann")) for i in range(3)))
    assert all(r.created for r in results)


async def test_a_quiet_first_load_tells_nobody_and_takes_no_turn(staffed: Api) -> None:
    await staffed.upsert(*(a_row(f"r{i}", owner=seller_owner("ann")) for i in range(3)), quiet=True)
    assert notified(staffed) == []
    assert staffed.read(lambda tx: tx.sellers.turns("default")) == []
    assert sum(load.effort for load in staffed.read(lambda tx: tx.sellers.loads("default"))) == 3


async def test_a_loud_first_owner_is_told_and_takes_a_turn(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    assert notified(staffed) == [("ann", "ASSIGNED")]
    assert [t.seller_id for t in staffed.read(lambda tx: tx.sellers.turns("default"))] == ["ann"]


async def test_a_full_row_without_a_mask_never_touches_the_owner(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    (result,) = await staffed.upsert(a_row(fields={"note": "x"}, owner=seller_owner("ben")))
    assert (owner_of(staffed), list(result.changed_fields)) == ("ann", ["note"])


async def test_an_echo_of_the_owner_changes_nothing(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    (result,) = await staffed.upsert(a_row(owner=seller_owner("ann"), mask=["owner"]))
    assert (result.etag, list(result.changed_fields), result.HasField("conflict")) == ("1", [], False)


@pytest.mark.parametrize("expected", [None, "", "ben"])
async def test_a_stale_owner_does_not_undo_a_decision(staffed: Api, expected: str | None) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    (result,) = await staffed.upsert(a_row(fields={"note": "x"}, owner=seller_owner("ben"), mask=["owner", "fields"], expected=expected))
    assert (result.conflict.kind, result.conflict.stored_owner) == (CONFLICT.CONFLICT_KIND_OWNER_CONFLICT, seller_owner("ann"))
    assert (owner_of(staffed), staffed.stored().fields) == ("ann", {})


async def test_whoever_knows_the_owner_may_change_it(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    await staffed.upsert(a_row(owner=seller_owner("ben"), mask=["owner"], expected="ann"))
    found = staffed.stored()
    assert (found.owner.id, found.previous_owner.id, found.assignment) == ("ben", "ann", "ASSIGNED_MANUALLY")
    assert notified(staffed)[1:] == [("ann", "REASSIGNED"), ("ben", "REASSIGNED")]


async def test_nobody_may_be_expected_and_given(staffed: Api) -> None:
    await staffed.upsert(a_row())
    await staffed.upsert(a_row(owner=seller_owner("ann"), mask=["owner"], expected=""))
    assert owner_of(staffed) == "ann"
    await staffed.upsert(a_row(mask=["owner"], expected="ann"))
    assert (owner_of(staffed), staffed.stored().assignment) == ("", "WAITING")
    assert staffed.reruns() == {"CAPACITY_FREED", "SELLER_JOINED"}


async def test_a_later_owner_must_have_room(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")), a_row("r2"))
    (result,) = await staffed.upsert(a_row("r2", {"note": "x"}, owner=seller_owner("ann"), mask=["owner", "fields"], expected=""))
    assert result.conflict.kind == CONFLICT.CONFLICT_KIND_NO_CAPACITY
    assert (owner_of(staffed, "r2"), staffed.stored("r2").fields, staffed.stored("r2").version) == ("", {}, 1)


async def test_two_full_sellers_may_swap_their_records_in_one_write(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")), a_row("r2", owner=seller_owner("ben")))
    await staffed.upsert(
        a_row(owner=seller_owner("ben"), mask=["owner"], expected="ann"),
        a_row("r2", owner=value_pb2.Owner(), mask=["owner"], expected="ben"),
    )
    assert (owner_of(staffed), owner_of(staffed, "r2")) == ("ben", "")


async def test_a_manual_owner_stands_in_the_records_log(staffed: Api) -> None:
    await staffed.upsert(a_row())
    await staffed.upsert(a_row(owner=seller_owner("ann"), mask=["owner"], expected=""))
    (line,) = (await staffed.records.ListDecisions(record_service_pb2.ListDecisionsRequest(record_id="r1"))).decisions
    assert (line.before.HasField("owner"), line.after.owner.seller_id) == (False, "ann")


async def test_a_record_that_comes_twice_takes_the_first_owner_only(staffed: Api) -> None:
    _, second = await staffed.upsert(a_row(owner=seller_owner("ann")), a_row(owner=seller_owner("ben")))
    assert (owner_of(staffed), second.HasField("conflict")) == ("ann", False)


@pytest.mark.parametrize("owner", [value_pb2.Owner(seller_id="none"), value_pb2.Owner(team_id="none"), value_pb2.Owner(seller_id="")])
@pytest.mark.parametrize("mask", [None, ["owner"]])
async def test_an_owner_must_exist(staffed: Api, owner: value_pb2.Owner, mask: list[str] | None) -> None:
    found = await refusal(staffed.upsert(a_row(owner=owner, mask=mask)))
    assert found.fields[-1] == "records[0].record.owner"
    assert staffed.stored() is None


async def test_a_closed_record_gives_room_and_ends_its_load(staffed: Api) -> None:
    await staffed.upsert(a_row(owner=seller_owner("ann")))
    await staffed.upsert(a_row(active=False))
    assert staffed.read(lambda tx: tx.sellers.loads("default")) == []
    assert "CAPACITY_FREED" in staffed.reruns()


async def test_records_of_a_type_without_rules_take_no_turn(staffed: Api) -> None:
    await staffed.apply(resource(record_type={"record_type": "visit"}))
    await staffed.upsert(a_row(record_type="visit", owner=seller_owner("ann")))
    assert staffed.read(lambda tx: tx.sellers.turns("default")) == []
