"""Scenarios of the original system: round robin, capacity, load balancing, scheduled reruns, moves between segments."""

import pytest

from reallot.clients import Record, Seller
from reallot.v1 import record_pb2, run_pb2, sequence_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, kinds, lead_type, quiet_settings, served


def three_rules(world: World, *more_types: str) -> None:
    conditions = {f"rule-{n}": f'record.kind == "{n}"' for n in (1, 2, 3)}
    rules = [a_rule(name, use_capacity=False, condition=text) for name, text in conditions.items()]
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type(), lead_type("opportunity")],
        segments=[a_segment("leads", *rules), *(a_segment(t, a_rule(), record_type=t) for t in more_types)],
    )
    world.sellers(served("miriam", 1, "10:02"), served("sanjay", 2, "10:31"), served("susana", 3, "11:17"))


ARRIVALS = [("L1", "1"), ("L2", "2"), ("L3", "3"), ("L4", "1")]


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
def test_d1_one_round_robin_order_for_the_workspace(world: Make, batch: bool) -> None:
    here = world()
    three_rules(here)
    leads = [a_lead(name, kind=kind) for name, kind in ARRIVALS]
    for group in [leads] if batch else [[lead] for lead in leads]:
        here.write(*group)
    assert here.owners("L1", "L2", "L3", "L4") == ["miriam", "sanjay", "susana", "miriam"]


@pytest.mark.parametrize(("types", "order"), [((), ["sanjay", "susana", "miriam"]), (("opportunity",), ["sanjay", "miriam", "susana"])])
def test_d1_manual_assignments_count_for_types_that_have_rules(world: Make, types: tuple[str, ...], order: list[str]) -> None:
    here = world()
    three_rules(here, *types)
    here.write(a_lead("L1", kind="1"))
    here.write(Record("O1", "opportunity", created_by="somebody"), quiet=True)
    here.give("susana", "O1")
    for name in ("L2", "L3", "L4"):
        here.write(a_lead(name, kind="1"))
    assert here.owners("L2", "L3", "L4") == order


def four_sellers(world: World, *, capacities: tuple[int, int, int, int]) -> None:
    """Sanjay, Susana, David, Miriam with what is free to each; load above a maximum comes from the CRM."""
    names = [("sanjay", 2, "02:37"), ("susana", 3, "02:57"), ("david", 4, "03:02"), ("miriam", 1, "02:35")]
    world.sellers(*(served(name, order, time, capacity=max(free, 0)) for (name, order, time), free in zip(names, capacities, strict=True)))
    for (name, _, _), free in zip(names, capacities, strict=True):
        if free < 0:
            world.write(*(Record(f"{name}-{i}", "lead", owner=name) for i in range(-free)), quiet=True)


@pytest.mark.parametrize(("free", "owner", "status"), [((0, 4, 1, -2), "susana", "ASSIGNED"), ((0, 0, 0, -2), "", "NO_CAPACITY")])
def test_d2_capacity_is_respected(world: Make, free: tuple[int, int, int, int], owner: str, status: str) -> None:
    here = world()
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule())])
    four_sellers(here, capacities=free)
    here.write(a_lead("new"))
    assert (here.owner("new"), here.status("new")) == (owner, status)
    waiting = [r.record_id for r in here.client.records.list(unowned=True)]
    assert waiting == ([] if owner else ["new"])


@pytest.mark.parametrize(("types", "free"), [(("lead",), 30), (("lead", "opportunity"), 20)])
def test_d2_only_types_with_rules_count_as_load(world: Make, types: tuple[str, ...], free: int) -> None:
    here = world()
    segments = [a_segment(t, a_rule(), record_type=t) for t in types]
    here.apply(settings=quiet_settings(), record_types=[lead_type(), lead_type("opportunity")], segments=segments)
    here.sellers(Seller("alex", capacity=50))
    owned = [Record(f"l{i}", "lead", owner="alex") for i in range(20)] + [Record(f"o{i}", "opportunity", owner="alex") for i in range(10)]
    here.write(*owned, quiet=True)
    assert here.client.sellers.get("alex").free == free


def availability_team(world: World, *, use_capacity: bool, vivek: int, sal: int) -> None:
    """Burt and Maya work from tomorrow, Maria from the day after, Vivek and Sal now. It is Tuesday noon."""
    rule = a_rule("all", "LOAD_BALANCING", available_within="432000s", use_capacity=use_capacity)
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", rule)])
    now, tomorrow, later = "Mon-Sun 00:00-24:00", "Wed-Fri 08:00-17:00", "Thu-Fri 08:00-17:00"
    world.sellers(
        served("burt", 2, "02:37", capacity=14, hours=tomorrow, zone="UTC"),
        served("maya", 1, "02:15", capacity=20, hours=tomorrow, zone="UTC"),
        Seller("vivek", capacity=max(vivek, 0), hours=now, zone="UTC"),
        Seller("maria", capacity=10, hours=later, zone="UTC"),
        Seller("sal", capacity=sal, hours=now, zone="UTC"),
    )
    world.write(*(Record(f"old-{i}", "lead", owner="vivek") for i in range(-vivek)), quiet=True)


def test_d3_nobody_available_now_means_round_robin(world: Make) -> None:
    here = world("2026-03-10T12:00")
    availability_team(here, use_capacity=True, vivek=-1, sal=0)
    for name in ("a", "b", "c"):
        here.write(a_lead(name))
    assert here.owners("a", "b", "c") == ["maya", "burt", "maya"]


def test_d3_without_the_capacity_option_whoever_is_there_and_freest(world: Make) -> None:
    here = world("2026-03-10T12:00")
    availability_team(here, use_capacity=False, vivek=5, sal=2)
    here.write(a_lead("a"))
    assert here.owner("a") == "vivek"


def test_d5_scheduled_reruns_take_the_oldest_first_up_to_their_size(world: Make) -> None:
    here = world("2026-03-06T09:00")
    schedule = {
        "schedule_id": "hot",
        "days_and_times": {"days": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"], "times": [{"hours": 6}, {"hours": 14}]},
        "start_time": "2026-03-09T00:00:00Z",
        "limit": 500,
        "selection": {"segment_ids": ["hot-leads"]},
    }
    hot = a_segment("hot-leads", a_rule("all", "LOAD_BALANCING"), on_arrival="ON_ARRIVAL_WAIT")
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[hot], schedules=[schedule])
    here.sellers(Seller("a", capacity=0), Seller("b", capacity=0))
    created = [f"2026-03-{1 + n // 200:02d}T{n % 200 // 10:02d}:{n % 10:02d}" for n in range(600)]
    here.write(*(a_lead(f"lead-{n:03d}", created[n]) for n in range(600)))
    here.run()
    assert {here.status(f"lead-{n:03d}") for n in (0, 599)} == {"NO_CAPACITY"}
    here.advance("2026-03-08T12:00")
    assert here.runs() == []
    here.sellers(Seller("a", capacity=300), Seller("b", capacity=300))
    here.advance("2026-03-09T06:01")
    waiting = {r.record_id for r in here.client.records.list(unowned=True)}
    assert waiting == {f"lead-{n:03d}" for n in range(500, 600)}
    assert here.loads() == {"a": 250, "b": 250}
    here.advance("2026-03-09T14:01")
    assert here.loads() == {"a": 300, "b": 300}
    history = [(r.counts.assigned, r.firing_time.ToDatetime().hour, r.state) for r in here.runs()]
    assert history == [(500, 6, run_pb2.RUN_STATE_SUCCEEDED), (100, 14, run_pb2.RUN_STATE_SUCCEEDED)]


def outreach(world: World, *, assign_on_move: bool) -> None:
    """SMB and Enterprise with their outreach; Contoso is Carl's, at step 2 of SMB nurture."""
    steps = [{"step_id": f"s{n}", "call": {"subject": "hello"}} for n in (1, 2, 3)]
    skilled = a_rule("skilled", target={"matching": "seller.skills.enterprise >= 1"})
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        sequences=[
            {"sequence_id": "smb-nurture", "record_type": "lead", "display_name": "SMB nurture", "steps": steps},
            {"sequence_id": "enterprise-outreach", "record_type": "lead", "display_name": "Enterprise outreach", "steps": steps},
        ],
        segments=[
            enterprise(skilled, assign_on_move=assign_on_move),
            a_segment("smb", condition="record.revenue < 1000000.0", priority=2, display_name="SMB", sequence_id="smb-nurture"),
        ],
    )
    world.sellers(served("ana", 1, "09:00", skills={"enterprise": 5}), served("ben", 2, "10:00", skills={"enterprise": 5}), Seller("carl"))
    world.write(Record("contoso", "lead", {"revenue": 200_000.0, "company": "Contoso"}, owner="carl"))
    world.client.stubs.sequences.CompleteStep(sequence_service_pb2.CompleteStepRequest(record_id="contoso", step=1))


def enterprise(rule: dict[str, object], *, assign_on_move: bool) -> dict[str, object]:
    parts = {"condition": "record.revenue >= 1000000.0", "priority": 1, "display_name": "Enterprise"}
    return a_segment("enterprise", rule, sequence_id="enterprise-outreach", accepts_moves=True, assign_on_move=assign_on_move, **parts)


def test_d7_a_change_moves_the_record_to_segment_seller_and_sequence(world: Make) -> None:
    here = world()
    outreach(here, assign_on_move=True)
    assert here.record("contoso").enrollment.step == 2
    last = here.events()[-1].number
    here.write(a_lead("contoso", revenue=5_000_000.0))
    lead = here.record("contoso")
    assert (lead.segment_id, lead.segmentation.previous_segment_id) == ("enterprise", "smb")
    assert (here.owner("contoso"), lead.assignment.previous_owner.seller_id, here.status("contoso")) == ("ana", "carl", "ASSIGNED")
    assert (lead.enrollment.sequence_id, lead.enrollment.step) == ("enterprise-outreach", 1)
    found = here.client.stubs.sequences.ListEnrollments(sequence_service_pb2.ListEnrollmentsRequest(record_id="contoso")).enrollments
    assert {(e.sequence_id, e.end_reason) for e in found} == {("smb-nurture", "RESEGMENTED"), ("enterprise-outreach", "")}
    told = [event for event in here.events() if event.number > last]
    assert kinds(told) == ["CHANGED", "RESEGMENTED"]
    for seller in ("carl", "ana"):
        notices = [n for n in here.notices(seller) if n.number > last]
        assert kinds([n.event for n in notices]) == ["RESEGMENTED"]
        event = notices[0].event
        assert (event.before.owner.seller_id, event.after.owner.seller_id) == ("carl", "ana")
        assert (event.before.segment_id, event.after.segment_id, list(event.cause.fields)) == ("smb", "enterprise", ["revenue"])
        assert "Contoso moved from SMB to Enterprise because revenue changed" in event.sentence.text


def test_d8_without_rules_on_move_the_owner_stays_until_they_are_run(world: Make) -> None:
    here = world()
    outreach(here, assign_on_move=False)
    here.write(a_lead("contoso", revenue=5_000_000.0))
    lead = here.record("contoso")
    assert (lead.segment_id, lead.enrollment.sequence_id, here.owner("contoso")) == ("enterprise", "enterprise-outreach", "carl")
    assert here.status("contoso") == "RULES_NOT_RUN_ON_MOVE"
    skilled = a_rule("skilled", target={"matching": "seller.skills.enterprise >= 1"})
    here.apply(segments=[enterprise(skilled, assign_on_move=True)])
    here.run()
    assert (here.owner("contoso"), here.status("contoso")) == ("ana", "ASSIGNED")


def test_records_that_do_not_match_a_segment_that_accepts_moves_stay(world: Make) -> None:
    here = world()
    outreach(here, assign_on_move=True)
    here.write(a_lead("contoso", revenue=5_000_000.0))
    here.write(a_lead("contoso", revenue=10.0))
    lead = here.record("contoso")
    assert lead.segment_id == "enterprise"
    assert lead.segmentation.status == record_pb2.SEGMENTATION_STATUS_MOVE_NOT_ALLOWED


def test_time_stands_where_the_scenario_put_it(world: Make) -> None:
    here = world("2026-03-05T11:20")
    here.apply(record_types=[lead_type()])
    here.write(a_lead("x"))
    assert here.record("x").create_time.ToDatetime(tzinfo=at("2026-03-05T11:20").tzinfo) == at("2026-03-05T11:20")
