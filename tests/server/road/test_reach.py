"""A run for the sake of some sellers reads the records that they may get, and no others: held to the rules asked of everything."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server.road.batch import Task
from reallot.server.road.solve import drafted
from reallot.storage.entities import Seller, TimeOff
from reallot.v1 import config_pb2, run_pb2
from support.api import a_row, fields_of, resource
from support.cases import cases
from support.office import Office, listed

NAMES = ("ann", "ben", "cem", "dan")
COUNTRIES = ("DE", "AT", "de", "")
TARGETS: tuple[dict[str, Any], ...] = (
    {},
    {"target": {"sellers": {"seller_ids": ["ann", "ben"]}}},
    {"target": {"matching": "seller.country == record.country"}},
    {"target": {"matching": 'record.country in seller.countries && seller.skills.big >= 5 && record.size in ["s", "m"]'}},
    {"target": {"matching": "seller.country == record.country || record.country in seller.countries"}},
    {"target": {"matching": 'seller.country == record.country || seller.seller_id == "cem"'}},
    {"target": {"matching": "seller.folded == record.folded && seller.country == record.country"}},
    {
        "target": {"matching": "seller.country == record.country && seller.skills.big > 3"},
        "relax": [{"after": "1s", "drop": "seller.country == record.country"}],
    },
    {"target": {"matching": "record.country in seller.countries"}, "sticky": {"by": "size", "required": True}},
    {"target": {"team": {"team_ids": ["field"]}}},
)
CONDITIONS = (
    "",
    'record.country == "DE"',
    'record.country in ["AT", "de"] && record.number > 1',
    'record.folded == "X" || record.size == "s"',
)
sellers = st.builds(
    dict,
    country=st.sampled_from(COUNTRIES),
    countries=st.lists(st.sampled_from(COUNTRIES), max_size=2),
    folded=st.sampled_from(["x", "y"]),
    big=st.sampled_from([2, 6]),
    away=st.booleans(),
    stand_in=st.sampled_from(["", *NAMES]),
)
records = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from([*COUNTRIES, "F\0R"]),
        "size": st.sampled_from(["s", "m", "l"]),
        "folded": st.sampled_from(["X", "z"]),
        "number": st.integers(0, 3),
    },
)
rules = st.builds(lambda target, condition: {**target, "condition": condition}, st.sampled_from(TARGETS), st.sampled_from(CONDITIONS))
chains = st.lists(st.lists(rules, min_size=1, max_size=3), min_size=2, max_size=2)


def configured(chosen: Sequence[Sequence[dict[str, Any]]]) -> list[config_pb2.ConfigResource]:
    schema = [
        *fields_of(country="TEXT", size="TEXT", number="INTEGER"),
        {"field_id": "folded", "type": "FIELD_TYPE_TEXT", "fold_case": True},
    ]
    attributes = [
        *fields_of(country="TEXT", countries="TEXT_LIST"),
        {"field_id": "folded", "type": "FIELD_TYPE_TEXT", "fold_case": True},
    ]
    segments = [
        {"segment_id": name, "record_type": "lead", "rules": [{"rule_id": f"r{n}", **rule} for n, rule in enumerate(own)], **parts}
        for (name, parts), own in zip(
            (("large", {"condition": 'record.size == "l"', "priority": 1}), ("rest", {"is_default": True})), chosen, strict=True
        )
    ]
    return [
        resource(settings={"seller_fields": attributes, "rerun_on": {"causes": []}}),
        resource(team={"team_id": "field"}),
        resource(record_type={"record_type": "lead", "fields": schema}),
        *(resource(segment=segment) for segment in segments),
    ]


def considered(office: Office, kind: str, wanted: Sequence[str]) -> list[str]:
    """Return the records that a run for the sake of some sellers looks at; one by hand reads all that waits."""
    selection = run_pb2.RunSelection(seller_ids=wanted).SerializeToString()
    task = Task(office.workspace, office.clock.now_us() + 2_000_000, kind, "run", selection=selection)
    work = office.read(lambda tx: drafted(tx, office.config, task, lambda _stage: None)).work
    assert kind != "EVENT" or len(work.records) <= len(office.records())
    return [record_id for record_id, asked in zip(work.records.record_id, work.assign, strict=True) if asked]


@settings(deadline=None, max_examples=cases(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chains,
    st.lists(sellers, min_size=4, max_size=4),
    st.lists(records, min_size=1, max_size=8),
    st.sets(st.sampled_from(NAMES), min_size=1),
)
def test_it_considers_what_the_rules_say(
    office: Office, chosen: list[list[dict[str, Any]]], drawn: list[dict[str, Any]], leads: list[dict[str, Any]], wanted: set[str]
) -> None:
    office.move()
    office.apply(*configured(chosen))
    now_us = office.clock.now_us()
    office.hire(
        *(
            Seller(
                name,
                attributes={key: s[key] for key in ("country", "countries", "folded")},
                skills={"big": s["big"]},
                capacity={"total": 0},
                stand_in_id=s["stand_in"] if s["stand_in"] != name else "",
            )
            for name, s in zip(NAMES, drawn, strict=True)
        )
    )
    absent = [TimeOff(name, "leave", now_us - 1, now_us + 10**12) for name, s in zip(NAMES, drawn, strict=True) if s["away"]]
    office.write(lambda tx: tx.sellers.add_time_off(office.workspace, absent))
    office.upsert(*(a_row(f"l{n}", fields, group_key="g" if n in (2, 5) else "") for n, fields in enumerate(leads)))
    office.work()
    assert considered(office, "EVENT", sorted(wanted)) == considered(office, "MANUAL", sorted(wanted))


def test_a_group_is_tried_whole_although_the_seller_may_get_only_some_of_it(office: Office) -> None:
    first = {"segment_id": "large", "record_type": "lead", "condition": 'record.size == "l"', "priority": 1}
    rest = {"segment_id": "rest", "record_type": "lead", "is_default": True, "rules": [listed("ben", "ben")]}
    bundle = [r for r in configured([[{}], [{}]]) if r.WhichOneof("resource") not in ("segment", "settings")]
    office.apply(
        resource(settings={"rerun_on": {"causes": ["RERUN_CAUSE_CAPACITY_FREED"]}}),
        *bundle,
        resource(segment={**first, "rules": [listed("both", "ann", "ben")]}),
        resource(segment=rest),
    )
    office.hire(Seller("ann", capacity={"total": 1}), Seller("ben", capacity={"total": 0}))
    office.upsert(a_row("full", {"size": "l"}))
    office.work()
    office.upsert(a_row("a", {"size": "l"}, group_key="k"), a_row("b", {}, group_key="k"), a_row("c", {"size": "l"}), a_row("d", {}))
    office.work()
    office.upsert(a_row("full", active=False, mask=["active"]))
    office.work()
    (run,) = [run for run in office.read(lambda tx: tx.runs.page(office.workspace)) if run.kind == "EVENT"]
    assert (run.state, run.counts["considered"], run.counts["assigned"]) == ("SUCCEEDED", 3, 1)
    assert office.owners("a", "b", "c", "d") == ["", "", "ann", ""]
