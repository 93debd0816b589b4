"""A first load, a stop, and many changes at once reach only whom they should: what everybody is told, to the last notice."""

from reallot.clients import Record, Seller
from reallot.v1 import event_pb2, record_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings


def an_office(world: World, **settings: object) -> World:
    steps = [{"step_id": "s", "call": {"subject": "hello"}}]
    world.apply(
        settings=quiet_settings(**settings),
        record_types=[lead_type()],
        sequences=[{"sequence_id": "outreach", "record_type": "lead", "steps": steps}],
        segments=[
            a_segment("big", a_rule("all"), condition="record.revenue >= 10.0", priority=1, accepts_moves=True, sequence_id="outreach"),
            a_segment("leads", a_rule("all"), sequence_id="outreach"),
        ],
    )
    world.sellers(Seller("ana"), Seller("ben"))
    return world


def heard(world: World, seller: str, last: int = 0) -> list[str]:
    return kinds([n.event for n in world.notices(seller) if n.number > last])


def enrolled(world: World, record_id: str) -> str:
    return record_pb2.SequenceConnectionStatus.Name(world.record(record_id).enrollment.status).removeprefix("SEQUENCE_CONNECTION_STATUS_")


def test_a_paused_workspace_writes_down_and_does_nothing_until_it_goes_on(world: Make) -> None:
    here = an_office(world())
    here.write(Record("owned", "lead", {"revenue": 1.0}, owner="ana"))
    last = here.events()[-1].number
    here.apply(settings=quiet_settings(paused=True))
    here.write(a_lead("new"))
    here.write(a_lead("owned", revenue=50.0))
    here.give("ben", "owned")
    here.write(Record("given", "lead", owner="ben"))
    assert kinds([e for e in here.events() if e.number > last]) == ["CREATED", "CHANGED", "REASSIGNED", "ASSIGNED"]
    assert [heard(here, s, last) for s in ("ana", "ben")] == [[], []]
    assert (here.record("new").segment_id, here.owner("new"), here.record("new").pending) == ("", "", True)
    assert here.record("owned").segment_id == "leads"
    last = here.events()[-1].number
    here.apply(settings=quiet_settings())
    here.settle()
    assert {e.record_id: kinds([e])[0] for e in here.events() if e.number > last} == {
        "new": "ASSIGNED",
        "owned": "RESEGMENTED",
        "given": "STEP_DUE",
    }
    assert [here.record(i).segment_id for i in ("new", "owned", "given")] == ["leads", "big", "leads"]
    taker = here.owner("new")
    assert sorted(heard(here, taker, last)) == sorted(["ASSIGNED"] + (["RESEGMENTED"] if taker == "ben" else []))
    assert not here.record("new").pending


def test_a_quiet_import_tells_and_enrols_nobody_and_what_comes_later_is_told(world: Make) -> None:
    here = an_office(world())
    here.write(Record("owned", "lead", {"revenue": 50.0}, owner="ana"), a_lead("free"), quiet=True)
    assert [(e.record_id, kinds([e])[0]) for e in here.events()] == [
        ("owned", "ASSIGNED"),
        ("free", "CREATED"),
        ("free", "CHANGED"),
        ("owned", "CHANGED"),
    ]
    assert {event_pb2.CauseKind.Name(e.cause.kind) for e in here.events()} == {"CAUSE_KIND_IMPORTED"}
    assert [heard(here, s) for s in ("ana", "ben")] == [[], []]
    assert [here.record(i).segment_id for i in ("owned", "free")] == ["big", "leads"]
    assert [(enrolled(here, i), here.status(i)) for i in ("owned", "free")] == [("SKIPPED", "ASSIGNED_MANUALLY"), ("SKIPPED", "WAITING")]
    assert here.loads() == {"ana": 1, "ben": 0}
    last = here.events()[-1].number
    here.run()
    assert (here.owner("free"), [heard(here, s) for s in ("ana", "ben")]) in (("ben", [[], ["ASSIGNED"]]), ("ana", [["ASSIGNED"], []]))
    here.write(a_lead("owned", revenue=60.0))
    # The second change is that of the segmentation status.
    assert kinds([e for e in here.events(record_ids=["owned"]) if e.number > last]) == ["CHANGED", "CHANGED"]
    here.give("ben", "owned")
    assert heard(here, "ana", last)[-1:] == ["REASSIGNED"]


def test_above_digest_above_a_seller_gets_one_digest_of_what_came_and_went(world: Make) -> None:
    here = world()

    def segments(owner: str) -> list[dict[str, object]]:
        rule = a_rule("to", target={"sellers": {"seller_ids": [owner]}})
        return [a_segment("leads", rule, on_arrival="ON_ARRIVAL_WAIT")]

    here.apply(settings=quiet_settings(digest_above=2), record_types=[lead_type()], segments=segments("ana"))
    here.sellers(Seller("ana"), Seller("ben", capacity=2))
    here.write(*(a_lead(f"l{n}") for n in range(3)))
    run = here.run()
    (notice,) = here.notices("ana")
    digest = notice.digest
    assert (digest.run_id, digest.gained, digest.lost, sorted(digest.record_ids)) == (run.run_id, 3, 0, ["l0", "l1", "l2"])
    assert digest.sentence.text == "You got 3 records."
    # Numbers follow the events that it stands for.
    assert notice.number == here.events()[-1].number + 1
    here.apply(segments=segments("ben"))
    run = here.run(selection={"record_type": "lead", "owned_but_ineligible": True})
    assert sorted(here.owners("l0", "l1", "l2")) == ["", "ben", "ben"]
    second = here.notices("ana")[-1]
    assert (second.digest.run_id, second.digest.gained, second.digest.lost, len(here.notices("ana"))) == (run.run_id, 0, 3, 2)
    assert heard(here, "ben") == ["REASSIGNED", "REASSIGNED"]
    assert kinds(here.events(owner_changed=True)) == ["ASSIGNED"] * 3 + sorted(kinds(here.events(owner_changed=True))[3:])
