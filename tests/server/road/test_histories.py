"""Random histories of edits, to leads and to their accounts, in windows: what the road makes of them, against a slow reference."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server import fanouts
from reallot.server.fanouts import pass_on
from reallot.server.services.records import RecordService
from reallot.v1 import record_service_pb2
from support.api import a_row, a_segment, fields_of, resource
from support.cases import cases
from support.office import NO_RERUNS, Office

CONDITIONS = {
    "record.score > 2": lambda lead, account: (lead.get("score") or 0) > 2,
    'record.country == "DE"': lambda lead, account: lead.get("country") == "DE",
    'account.industry == "Retail"': lambda lead, account: account is not None and account.get("industry") == "Retail",
    "empty(account)": lambda lead, account: account is None,
    'present(account) && record.score < 2 && account.industry != "Bank"': lambda lead, account: (
        account is not None and account.get("industry", "Bank") != "Bank" and "score" in lead and lead["score"] < 2
    ),
}
STEPS = [{"step_id": "call", "call": {"subject": "Hello"}}, {"step_id": "mail", "email": {"template": "t"}}]
LEADS, ACCOUNTS = ("L0", "L1", "L2"), ("A0", "A1")


@st.composite
def segment_of(draw: st.DrawFn, number: int) -> dict[str, Any]:
    return a_segment(
        f"s{number}",
        number,
        condition=draw(st.sampled_from(sorted(CONDITIONS))),
        accepts_moves=draw(st.booleans()),
        sequence_id=draw(st.sampled_from(["", "one", "two"])),
        on_no_match=draw(st.sampled_from(["ON_NO_MATCH_STAY", "ON_NO_MATCH_DEFAULT_SEGMENT"])),
    )


SEGMENTS = st.tuples(segment_of(1), segment_of(2), segment_of(3), st.just(a_segment("rest", 0, is_default=True, accepts_moves=True)))
EDITS = st.one_of(
    st.tuples(st.just("score"), st.sampled_from(LEADS), st.integers(0, 4)),
    st.tuples(st.just("country"), st.sampled_from(LEADS), st.sampled_from(["DE", "FR"])),
    st.tuples(st.just("account"), st.sampled_from(LEADS), st.sampled_from(["", *ACCOUNTS])),
    st.tuples(st.just("industry"), st.sampled_from(ACCOUNTS), st.sampled_from(["Retail", "Bank", "Farm"])),
    st.tuples(st.just("staff"), st.sampled_from(ACCOUNTS), st.integers(0, 2)),
    st.tuples(st.just("delete"), st.sampled_from((*LEADS, *ACCOUNTS))),
    st.tuples(st.just("active"), st.sampled_from(LEADS), st.booleans()),
)
WINDOWS = st.lists(st.lists(EDITS, min_size=1, max_size=6), min_size=1, max_size=6)


@dataclass
class Reference:
    """What a lead's segment must be: at each window's end the last state is compared with that of the last recheck."""

    segments: tuple[dict[str, Any], ...]
    leads: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    segment: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def edit(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("delete", name):
                for stored in (self.leads, self.accounts, self.seen, self.segment):
                    stored.pop(name, None)
                self.closed.discard(name)
            case ("active", lead, active):
                self.leads.setdefault(lead, {})
                if active and lead in self.closed:
                    # Open again it is looked at, as it is then.
                    self.seen.pop(lead, None)
                (self.closed.discard if active else self.closed.add)(lead)
            case ("industry" | "staff" as name, account, value):
                self.accounts.setdefault(account, {})[name] = value
            case (name, lead, value):
                self.leads.setdefault(lead, {})[name] = value

    def end_window(self) -> None:
        for name, lead in self.leads.items():
            account = self.accounts.get(lead.get("account", ""))
            state = (dict(lead), account and dict(account))
            self.segment.setdefault(name, "")
            if name not in self.closed and (name not in self.seen or self.seen[name] != state):
                self.seen[name], self.segment[name] = state, self._segment_of(self.segment.get(name, ""), *state)

    def _segment_of(self, present: str, lead: dict[str, Any], account: dict[str, Any] | None) -> str:
        first = next((s for s in self.segments if s.get("is_default") or CONDITIONS[s["condition"]](lead, account)), None)
        assert first is not None
        here = next((s for s in self.segments if s["segment_id"] == present), None)
        if here is None or here is first:
            return str(first["segment_id"])
        if first.get("is_default"):
            return present if here["on_no_match"] == "ON_NO_MATCH_STAY" else str(first["segment_id"])
        return str(first["segment_id"]) if first["accepts_moves"] else present


def configure(office: Office, segments: tuple[dict[str, Any], ...]) -> None:
    office.move()
    reference = [{"role": "account", "record_type": "account"}]
    office.apply(
        resource(settings=NO_RERUNS),
        resource(record_type={"record_type": "account", "fields": fields_of(industry="TEXT", staff="INTEGER")}),
        resource(record_type={"record_type": "lead", "fields": fields_of(score="INTEGER", country="TEXT"), "references": reference}),
        *(resource(sequence={"sequence_id": name, "record_type": "lead", "steps": STEPS}) for name in ("one", "two")),
        *(resource(segment=segment) for segment in segments),
    )


def carry_out(office: Office, step: tuple[Any, ...]) -> None:
    match step:
        case ("delete", name):
            office.call(RecordService(office.runtime).DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=[name]))
        case ("active", lead, active):
            office.upsert(a_row(lead, mask=["active"], active=active))
        case ("account", lead, account):
            office.upsert(a_row(lead, related={"account": account}))
        case (name, record_id, value):
            office.upsert(a_row(record_id, {name: value}, record_type="account" if record_id in ACCOUNTS else "lead"))


def end_window(office: Office) -> None:
    config = office.config
    while office.write(lambda tx: pass_on(tx, config)):
        pass
    office.work()


def replayed(office: Office) -> dict[str, tuple[str, Any, tuple[str, str, int]]]:
    """Return segment, owner and enrollment of the records as the log of events tells them."""
    found = {}
    for event in office.events():
        state = event.after or {}
        enrolled = state.get("enrollment", {})
        parts = (enrolled.get("enrollment_id", ""), enrolled.get("sequence_id", ""), enrolled.get("step", 0))
        found[event.record_id] = (state.get("segment_id", ""), state.get("owner"), parts)
        if event.after is None:
            del found[event.record_id]
    return found


def stored(office: Office) -> dict[str, tuple[str, Any, tuple[str, str, int]]]:
    return {
        r.record_id: (r.segment_id, r.owner and {"seller_id": r.owner.id}, (r.enrollment_id, r.sequence_id, r.step))
        for r in office.records()
    }


def leads_of(office: Office) -> dict[str, str]:
    return {record.record_id: record.segment_id for record in office.records() if record.record_type == "lead"}


@settings(max_examples=cases(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=SEGMENTS, windows=WINDOWS)
def test_the_last_state_of_each_window_counts(
    shared_office: Office, segments: tuple[dict[str, Any], ...], windows: list[list[tuple[Any, ...]]]
) -> None:
    office, reference = shared_office, Reference(segments)
    configure(office, segments)
    told = 0
    for window in windows:
        for step in window:
            carry_out(office, step)
            reference.edit(step)
        end_window(office)
        reference.end_window()
        assert leads_of(office) == reference.segment
        assert replayed(office) == stored(office)
        assert all(not r.enrollment_id or r.active for r in office.records())
        events = office.events()
        moves = Counter(event.record_id for event in events[told:] if event.kind == "RESEGMENTED")
        assert all(count == 1 for count in moves.values()), "a window has a record moved at most once"
        told = len(events)


@settings(max_examples=cases(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=SEGMENTS, windows=WINDOWS)
def test_where_all_moves_are_accepted_windows_come_to_the_same_as_one_edit_after_the_other(
    shared_office: Office, segments: tuple[dict[str, Any], ...], windows: list[list[tuple[Any, ...]]]
) -> None:
    free = tuple({**s, "accepts_moves": True, "on_no_match": "ON_NO_MATCH_DEFAULT_SEGMENT"} for s in segments)
    found = []
    for one_by_one in (False, True):
        configure(shared_office, free)
        for window in windows:
            for step in window:
                carry_out(shared_office, step)
                if one_by_one:
                    end_window(shared_office)
            end_window(shared_office)
        found.append(leads_of(shared_office))
    assert found[0] == found[1]


def test_a_server_that_goes_down_amid_a_round_reaches_every_lead_all_the_same(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"condition": 'account.industry == "Retail"', "on_no_match": "ON_NO_MATCH_DEFAULT_SEGMENT"}
    retail = a_segment("retail", 1, accepts_moves=True, **parts)
    configure(office, (retail, a_segment("rest", 0, is_default=True, accepts_moves=True)))
    office.upsert(a_row("A0", {"industry": "Farm"}, record_type="account"))
    office.upsert(*(a_row(f"L{i}", related={"account": "A0"}) for i in range(7)))
    end_window(office)
    assert set(leads_of(office).values()) == {"rest"}
    monkeypatch.setattr(fanouts, "BATCH", 3)
    office.upsert(a_row("A0", {"industry": "Retail"}, record_type="account"))
    config = office.config
    assert office.write(lambda tx: pass_on(tx, config))
    assert office.read(lambda tx: tx.pending.count(office.workspace)) == 3, "a commit looks at no more than a part"
    office.work()
    office.restart()
    assert Counter(leads_of(office).values()) == {"retail": 3, "rest": 4}
    # A change amid the round is not lost, though its leads are behind the round already.
    office.upsert(a_row("A0", {"industry": "Bank"}, record_type="account"))
    end_window(office)
    assert set(leads_of(office).values()) == {"rest"}
    assert not office.write(lambda tx: pass_on(tx, config))
