"""The main job in seven acts, through the public API alone.

Leads arrive and are assigned; some stay without an owner, with a reason; capacity grows and a scheduled rerun picks them up; a lead's
revenue is corrected, it moves to another segment, and the right seller and outreach follow; both sellers are told on their stream.
"""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.clients.values import moment, owner_text
from reallot.server.demo.company import START, Company
from reallot.server.demo.stage import Stage, StoryFailed
from reallot.v1 import event_pb2, record_pb2, run_pb2

STREAM_PATIENCE_S = 20.0
ARRIVING = 1_000
"""Leads that arrive at once."""
TOLD = 3
"""Notices of a stream that are shown."""


class Follower:
    """A seller's tool: follows one seller's notifications in the background."""

    def __init__(self, client: Client, seller_id: str) -> None:
        self.seller_id = seller_id
        self.notices: list[Any] = []
        self._arrived = threading.Condition()
        self._client = client
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for notice in self._client.events.subscribe(self.seller_id, unread_first=True):
            if isinstance(notice, event_pb2.Notification):
                with self._arrived:
                    self.notices.append(notice)
                    self._arrived.notify_all()

    def wait_for(self, record_id: str, kind: str) -> Any:
        """Return the notice of a kind about a record.

        Raises:
            StoryFailed: it did not arrive in time.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._find(record_id, kind) is not None, STREAM_PATIENCE_S):
                raise StoryFailed(f"{self.seller_id} was not told that {record_id} was {kind}")
            return self._find(record_id, kind)

    def _find(self, record_id: str, kind: str) -> Any:
        return next((n for n in self.notices if n.event.record_id == record_id and _kind(n.event) == kind), None)


def _kind(event: Any) -> str:
    return str(event.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[event.kind].name).removeprefix("EVENT_KIND_").lower()


def play(stage: Stage, company: Company) -> None:
    """Show all acts.

    Raises:
        StoryFailed: an act did not show what it promises.
        ReallotError: a call failed.
    """
    _configure(stage, company)
    _arrive(stage, company)
    waiting = _why_some_wait(stage)
    _capacity_grows(stage, company, waiting)
    _scheduled_rerun(stage, len(waiting))
    _a_lead_changes(stage)
    _what_remains(stage)


def _configure(stage: Stage, company: Company) -> None:
    stage.act(1, "the administrator's rules")
    resources, _ = parse_bundle(company.config)
    answer = stage.client.config.apply(resources, actor="demo")
    stage.client.sellers.upsert(
        Seller(
            seller_id=s.seller_id,
            display_name=s.display_name,
            attributes={"country": s.country, "industries": list(s.industries)},
            skills=s.skills,
            team_ids=s.team_ids,
            capacity=s.capacity,
            hours=s.hours,
            zone=s.zone,
        )
        for s in company.sellers
    )
    stage.settle()
    rows = [
        (s["priority"], s["display_name"], s.get("condition", "(everything else)"), s["sequence_id"]) for s in company.config["segments"]
    ]
    stage.table(("priority", "segment", "condition", "outreach"), rows, ("priority",))
    stage.say(f"{len(answer.changes)} resources and {len(company.sellers)} sellers in {len({s.zone for s in company.sellers})} time zones.")
    stage.tell({"act": 1, "resources": len(answer.changes), "sellers": len(company.sellers), "segments": len(rows)})


def _arrive(stage: Stage, company: Company) -> None:
    stage.act(2, f"{len(company.leads):,} leads arrive")
    rows = [Record(lead.record_id, "lead", lead.fields, priority=lead.priority, created_time=lead.created) for lead in company.leads]
    for start in range(0, len(rows), ARRIVING):
        stage.client.records.upsert(rows[start : start + ARRIVING])
        # At rest after each part, so that the same seed makes the same batches.
        stage.settle()
    records = stage.client.records.list(record_type="lead")
    by_segment = Counter((r.segment_id, r.HasField("owner")) for r in records)
    names = {s["segment_id"]: s["display_name"] for s in company.config["segments"]}
    shown = [(names[s], by_segment[s, True], by_segment[s, False]) for s in names]
    stage.table(("segment", "assigned", "waiting"), shown, ("assigned", "waiting"))
    assigned = sum(row[1] for row in shown)
    stage.say(f"{assigned:,} of {len(records):,} leads have an owner; each is enrolled in its segment's outreach.")
    stage.tell(
        {
            "act": 2,
            "records": len(records),
            "assigned": assigned,
            "segments": {s: by_segment[s, True] + by_segment[s, False] for s in names},
        }
    )
    if len(records) != len(company.leads) or not assigned:
        raise StoryFailed("not every lead was stored and segmented")


def _why_some_wait(stage: Stage) -> list[record_pb2.Record]:
    stage.act(3, "nobody waits without a reason")
    waiting: list[record_pb2.Record] = stage.client.records.list(record_type="lead", unowned=True)
    reasons = Counter((_status(r), r.assignment.reason) for r in waiting)
    stage.table(("status", "reason", "leads"), [(s, reason, n) for (s, reason), n in reasons.most_common()], ("leads",))
    stage.tell({"act": 3, "waiting": len(waiting), "reasons": dict(Counter(_status(r) for r in waiting))})
    if not waiting or any(not r.assignment.reason for r in waiting):
        raise StoryFailed("a waiting lead has no reason")
    return waiting


def _status(record: record_pb2.Record) -> str:
    return record_pb2.AssignmentStatus.Name(record.assignment.status).removeprefix("ASSIGNMENT_STATUS_")


def _capacity_grows(stage: Stage, company: Company, waiting: list[record_pb2.Record]) -> None:
    stage.act(4, "somebody makes room")
    wanted = Counter(r.fields["country"].text for r in waiting)
    rows = []
    for country, leads in wanted.most_common():
        colleagues = [s for s in company.sellers if s.country == country]
        more = -(-leads // len(colleagues)) + 3
        stage.client.sellers.upsert(Seller(s.seller_id, capacity=s.capacity + more) for s in colleagues)
        rows.append((country, leads, len(colleagues), more))
    stage.table(("country", "waiting", "sellers", "more for each"), rows, ("waiting", "sellers", "more for each"))
    stage.say("Event reruns are off in this workspace: the leads wait for the schedule.")
    stage.settle()
    stage.tell({"act": 4, "countries": {country: leads for country, leads, _, _ in rows}})


def _scheduled_rerun(stage: Stage, waiting: int) -> None:
    stage.act(5, "the scheduled rerun on the next workday, 06:00 in Berlin")
    stage.advance_to(START + timedelta(days=1))
    runs = [run for run in stage.client.runs.list() if run.kind == run_pb2.RUN_KIND_SCHEDULED]
    rows = [
        (
            run.schedule_id,
            f"{moment(run.firing_time):%a %Y-%m-%d %H:%M} UTC",
            run.counts.considered,
            run.counts.assigned,
            run_pb2.TerminationReason.Name(run.termination.reason).removeprefix("TERMINATION_REASON_").lower(),
        )
        for run in runs
    ]
    stage.table(("schedule", "firing", "tried", "assigned", "plan"), rows, ("tried", "assigned"))
    left = len(stage.client.records.list(record_type="lead", unowned=True))
    stage.say(f"{waiting - left:,} of the {waiting:,} waiting leads have an owner now, {left:,} still wait.")
    stage.tell({"act": 5, "runs": len(runs), "assigned": waiting - left, "waiting": left})
    if len(runs) != 1 or left >= waiting:
        raise StoryFailed("the scheduled rerun did not pick up the waiting leads")


def _a_lead_changes(stage: Stage) -> None:
    stage.act(6, "a lead's revenue is corrected")
    before = next(
        r
        for r in stage.client.records.list(record_type="lead", segment_ids=["dach"])
        if r.HasField("owner") and r.fields["country"].text == "DE"
    )
    old_owner = owner_text(before.owner)
    followers = [Follower(stage.client, old_owner)]
    stage.client.records.upsert([Record(before.record_id, "lead", {"revenue": 5_000_000.0})])
    stage.settle()
    after = stage.client.records.get(before.record_id)
    new_owner = owner_text(after.owner)
    if after.segment_id != "enterprise" or not new_owner or after.enrollment.sequence_id != "enterprise-outreach":
        raise StoryFailed(f"{before.record_id} did not move to the enterprise segment, seller and outreach")
    followers += [Follower(stage.client, new_owner)] if new_owner != old_owner else []
    notices = [follower.wait_for(before.record_id, "resegmented") for follower in followers]
    rows = [
        ("revenue", f"{before.fields['revenue'].decimal:,.0f}", f"{after.fields['revenue'].decimal:,.0f}"),
        ("segment", before.segment_id, after.segment_id),
        ("owner", old_owner, new_owner),
        (
            "outreach",
            f"{before.enrollment.sequence_id}, step {before.enrollment.step}",
            f"{after.enrollment.sequence_id}, step {after.enrollment.step}",
        ),
    ]
    stage.table((before.record_id, "before", "after"), rows)
    for follower, notice in zip(followers, notices, strict=True):
        stage.say(f"→ {follower.seller_id}'s stream: {notice.event.sentence.text}")
    stage.tell(
        {
            "act": 6,
            "record": before.record_id,
            "segment": [before.segment_id, after.segment_id],
            "owner": [old_owner, new_owner],
            "sequence": [before.enrollment.sequence_id, after.enrollment.sequence_id],
            "notified": [follower.seller_id for follower in followers],
            "sentence": notices[0].event.sentence.text,
        }
    )


def _what_remains(stage: Stage) -> None:
    stage.act(7, "how the work is spread")
    sellers = stage.client.sellers.list()
    loads = sorted((sum(load.effort for load in s.load), s.free, s.seller_id, s.display_name) for s in sellers)
    shown = [*loads[:TOLD], *loads[-TOLD:]]
    stage.table(("seller", "name", "owns", "free"), [(i, n, load, free) for load, free, i, n in shown], ("owns", "free"))
    over = [s.seller_id for s in sellers if s.over_capacity]
    stage.say(f"{len(sellers)} sellers own {sum(row[0] for row in loads):,} leads; nobody is above a maximum.")
    stage.tell({"act": 7, "owned": sum(row[0] for row in loads), "over_capacity": over})
    if over:
        raise StoryFailed(f"{over} are above their maximum")
