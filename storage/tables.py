"""The tables. Texts that may be missing are "" rather than NULL; instants are microseconds since the epoch in UTC.

JSON documents are kept as text, written with sorted keys, so that equal documents are equal texts on every engine.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, MetaData, Table, UniqueConstraint, text

from reallot.storage.types import AutoId, Characters

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _key(name: str) -> Column[str]:
    return Column(name, Characters, primary_key=True)


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Characters, nullable=False, server_default=text(f"'{default}'"))


def _number(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text(str(default)))


def _instant(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


meta = Table("meta", metadata, _key("name"), _text("value"))

workspaces = Table(
    "workspaces",
    metadata,
    _key("workspace"),
    _number("event_number"),
    _number("turn_number"),
    _number("pending_number"),
    _number("config_version"),
    _number("retained_from", 1),
    _text("display_name"),
    _instant("deleted_us"),
)
"""Counters of a workspace, its name, and when it was removed, if so; of its log of events and notices, the numbers before `retained_from`
are no longer kept."""

config = Table(
    "config",
    metadata,
    _key("workspace"),
    _key("kind"),
    _key("id"),
    _text("body", "{}"),
    _number("version"),
    _number("create_us"),
    _number("update_us"),
)

config_changes = Table(
    "config_changes",
    metadata,
    Column("change_id", AutoId, primary_key=True, autoincrement=True),
    _text("workspace"),
    _text("kind"),
    _text("id"),
    _number("time_us"),
    _text("actor"),
    _text("before"),
    _text("after"),
    Index(None, "workspace", "change_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", AutoId, primary_key=True, autoincrement=True),
    _text("workspace"),
    _number("time_us"),
    _text("principal"),
    _text("origin"),
    _text("method"),
    _text("on_behalf_of"),
    _text("remark"),
    _text("kind"),
    _text("id"),
    _text("before"),
    _text("after"),
    _instant("redacted_us"),
    Index(None, "workspace", "number"),
)
"""Who did what by hand; the database refuses changes, but that personal data is taken out, which `redacted_us` tells."""

records = Table(
    "records",
    metadata,
    _key("workspace"),
    _key("record_id"),
    _text("record_type"),
    _text("fields", "{}"),
    _text("related", "{}"),
    _flag("active"),
    _text("owner_kind"),
    _text("owner_id"),
    _number("priority", 50),
    _number("value_units"),
    _number("effort", 1),
    _number("created_us"),
    _text("created_by"),
    _text("group_key"),
    _text("segment_id"),
    _text("previous_segment_id"),
    _text("previous_owner_kind"),
    _text("previous_owner_id"),
    _text("offered_to"),
    _text("segmentation"),
    _text("assignment"),
    _text("connection"),
    _text("reason"),
    _text("rule_id"),
    _text("run_id"),
    _number("attempts"),
    _instant("last_attempt_us"),
    _instant("next_try_us"),
    _instant("overdue_us"),
    _instant("waiting_since_us"),
    _text("enrollment_id"),
    _text("sequence_id"),
    _number("sequence_version"),
    _number("step"),
    _number("version"),
    _number("create_us"),
    _number("update_us"),
    Index(None, "workspace", "record_type", "segment_id", "assignment"),
    Index(None, "workspace", "owner_id"),
)

graves = Table(
    "graves",
    metadata,
    _key("workspace"),
    _key("record_id"),
    _number("version"),
)
"""Last versions of deleted records: one that comes back goes on from there and is not taken for the old one."""

pending = Table(
    "pending",
    metadata,
    _key("workspace"),
    _key("record_id"),
    _number("number"),
    _number("since_us"),
    _number("generation", 1),
    _text("cause", "{}"),
    Index(None, "workspace", "number"),
)

rerun_requests = Table(
    "rerun_requests", metadata, _key("workspace"), _key("cause"), _number("since_us"), _number("generation", 1), _text("sellers", "null")
)
"""`sellers` are those for whose sake, null = for everybody's."""

sellers = Table(
    "sellers",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    _text("display_name"),
    _number("priority", 50),
    _text("ramp_up", "null"),
    _text("attributes", "{}"),
    _text("skills", "{}"),
    _text("team_ids", "[]"),
    _flag("assignable"),
    _flag("roles_ok"),
    _number("weight", 1),
    _text("capacity", "{}"),
    _text("calendar", "null"),
    _text("stand_in_id"),
    _number("version"),
    _number("create_us"),
    _number("update_us"),
)

loads = Table(
    "loads",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    _key("record_type"),
    _key("segment_id"),
    _number("effort"),
    _number("records"),
)

rule_turns = Table("rule_turns", metadata, _key("workspace"), _key("seller_id"), _key("record_type"), _key("rule_id"), _number("order"))
"""Turns by the rule that gave them, "" = whatever else counts: by hand, self-created, or brought along."""

turns = Table("turns", metadata, _key("workspace"), _key("seller_id"), _key("record_type"), _number("order"), _number("time_us"))

shares = Table(
    "shares",
    metadata,
    _key("workspace"),
    _key("rule_id"),
    _key("seller_id"),
    _number("weight"),
    _number("given"),
    _number("carried"),
    Index(None, "workspace", "seller_id"),
)
"""What rules that give by shares have given since their pool or its weights last changed (see `storage.shares`)."""

gains = Table(
    "gains",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    Column("time_us", BigInteger, primary_key=True),
    _key("record_type"),
    _key("segment_id"),
    _number("effort"),
)
"""What sellers whose capacity has rolling windows were given, and when."""

capacity_timers = Table(
    "capacity_timers", metadata, _key("workspace"), _key("seller_id"), _number("due_us"), Index(None, "workspace", "due_us")
)
"""When a seller may next have more room with the clock alone."""

next_tries = Table("next_tries", metadata, _key("workspace"), Column("due_us", BigInteger, primary_key=True, server_default=text("0")))
"""When records that wait are tried again because somebody works then."""

time_off = Table(
    "time_off",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    _key("time_off_id"),
    _number("start_us"),
    _number("end_us"),
    _text("note"),
)

enrollments = Table(
    "enrollments",
    metadata,
    _key("workspace"),
    _key("enrollment_id"),
    _text("record_id"),
    _text("sequence_id"),
    _number("sequence_version"),
    _number("step", 1),
    _text("state"),
    _number("start_us"),
    _instant("end_us"),
    _text("end_reason"),
    Index(None, "workspace", "record_id"),
    Index(None, "workspace", "sequence_id"),
)

UNFINISHED = text("state IN ('PENDING', 'RUNNING')")
"""Runs that wait or work, in the words of their index: engines use it for a condition in just these words."""

runs = Table(
    "runs",
    metadata,
    _key("workspace"),
    _key("run_id"),
    _text("kind"),
    _text("state"),
    _text("stage"),
    _text("cause", "null"),
    _text("selection", "null"),
    Column("schedule_id", Characters, nullable=True),
    _instant("firing_us"),
    _number("limit"),
    _number("seed"),
    _number("time_limit_us"),
    _number("create_us"),
    _instant("start_us"),
    _instant("end_us"),
    _text("counts", "{}"),
    _flag("cancel_requested"),
    _text("failure"),
    _text("body", "null"),
    _number("version"),
    UniqueConstraint("workspace", "schedule_id", "firing_us"),
    Index(None, "workspace", "create_us", "run_id"),
    Index("ix_runs_unfinished", "workspace", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", AutoId, primary_key=True, autoincrement=True),
    _text("workspace"),
    _text("record_id"),
    _number("time_us"),
    _text("cause", "null"),
    _text("status"),
    _text("reason"),
    _text("before", "null"),
    _text("after", "null"),
    _text("rule_id"),
    _text("run_id"),
    _text("considered", "null"),
    _number("version"),
    Index(None, "workspace", "record_id", "decision_id"),
    Index(None, "workspace", "run_id", "decision_id"),
    Index(None, "workspace", "time_us"),
)

events = Table(
    "events",
    metadata,
    _key("workspace"),
    Column("number", BigInteger, primary_key=True),
    _text("kind"),
    _text("record_id"),
    _text("record_type"),
    _number("time_us"),
    _text("before", "null"),
    _text("after", "null"),
    _text("changed_fields", "[]"),
    _text("cause", "null"),
    _text("run_id"),
    _text("sentence", "null"),
)

notices = Table(
    "notices",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    Column("number", BigInteger, primary_key=True),
    _text("kind"),
    _number("time_us"),
    Column("body", Characters, nullable=True),
    _instant("acknowledged_us"),
    Column("of_event", BigInteger, nullable=True),
    Index(None, "workspace", "number"),
)
"""Notices; `of_event` is the event of one that was held back until its seller worked, else the event has the notice's number."""

held_notices = Table(
    "held_notices",
    metadata,
    _key("workspace"),
    _key("seller_id"),
    Column("number", BigInteger, primary_key=True),
    _text("kind"),
    Column("body", Characters, nullable=True),
    _number("due_us"),
    Index(None, "workspace", "due_us"),
)
"""Notices that wait for their seller's working time."""

working_stretches = Table("working_stretches", metadata, _key("workspace"), _key("seller_id"), _number("from_us"), _number("until_us"))
"""When sellers work, as far as it is known: now or next. The row without a seller says that the workspace holds notices back."""

schedules = Table("schedules", metadata, _key("workspace"), _key("schedule_id"), _instant("next_us"), _instant("last_us"))

requests = Table(
    "requests",
    metadata,
    _key("workspace"),
    _key("request_id"),
    _text("method"),
    _text("payload_hash"),
    Column("answer", LargeBinary, nullable=False),
    _number("time_us"),
    Index(None, "time_us"),
)

erasures = Table(
    "erasures",
    metadata,
    _key("workspace"),
    _key("subject"),
    Column("request", LargeBinary, nullable=False),
    _text("state", "null"),
    _text("replica"),
)
"""Removals that are under way, of a workspace or a person's data, and the server that is at each."""

replicas = Table("replicas", metadata, _key("replica_id"), _text("address"), _number("renewed_us"))
"""Servers on a shared database; `renewed_us` is the database's own time, so that servers' clocks do not matter."""

leases = Table("leases", metadata, _key("workspace"), _text("holder"), _number("fence"))
"""Which server works a workspace's road and schedules, "" = none; `fence` grows with every change of hands."""

rechecks = Table("rechecks", metadata, _key("workspace"), _key("record_id"), _number("due_us"), Index(None, "workspace", "due_us"))
"""When the answer of a segment's condition about a record can change with the clock alone: then it is segmented again."""

offers = Table(
    "offers",
    metadata,
    _key("workspace"),
    _key("record_id"),
    _key("seller_id"),
    _text("rule_id"),
    _text("state"),
    _number("start_us"),
    _instant("remind_us"),
    _instant("end_us"),
    _text("ends_as"),
    _text("status_before"),
    _instant("next_us"),
    Index(None, "workspace", "next_us"),
    Index(None, "workspace", "seller_id"),
)
"""Offers of records to sellers: the open one of a record, which has a `next_us`, and those that have ended while it waited."""

unanswered = Table("unanswered", metadata, _key("workspace"), _key("seller_id"), _number("offers"), _instant("since_us"))
"""How many offers in a row a seller let run out, and since when the seller is out of the pool for it, if so."""

previews = Table(
    "previews",
    metadata,
    _key("workspace"),
    _key("run_id"),
    _key("record_id"),
    _number("version"),
    _text("before", "null"),
    _text("after", "null"),
    _number("effort"),
    _number("touches"),
    _text("dropped"),
)
"""What runs that wait to be applied would do to each record; of runs that were applied, the moves that were `dropped`, and why."""

run_inputs = Table(
    "run_inputs",
    metadata,
    _key("workspace"),
    _key("run_id"),
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
    _number("time_us"),
    Index(None, "workspace", "time_us"),
)
"""What the batches of runs were planned from."""

record_references = Table("record_references", metadata, _key("workspace"), _key("target_id"), _key("record_id"), _text("roles", "[]"))
"""What `records.related` says, by the record that is referred to: which records refer to it, in which roles."""

fanouts = Table(
    "fanouts",
    metadata,
    _key("workspace"),
    _key("target_id"),
    _text("record_type"),
    _number("since_us"),
    _text("cause", "{}"),
    _text("next_cause", "null"),
    _text("after_id"),
)
"""Changes of records that those that refer to them are yet to hear of, and how far that is."""

sequence_versions = Table(
    "sequence_versions",
    metadata,
    _key("workspace"),
    _key("sequence_id"),
    Column("version", BigInteger, primary_key=True),
    _text("body", "{}"),
)
"""Every version of every sequence, those of deleted ones included: enrollments go on with the one that they started on."""

steps = Table(
    "steps",
    metadata,
    _key("workspace"),
    _key("enrollment_id"),
    Column("number", BigInteger, primary_key=True),
    _text("record_id"),
    _text("sequence_id"),
    _number("sequence_version"),
    _number("step", 1),
    _text("step_id"),
    _text("kind"),
    _text("state"),
    _text("seller_id"),
    _number("reached_us"),
    _number("not_before_us"),
    _instant("due_us"),
    _instant("overdue_us"),
    _number("told"),
    _instant("end_us"),
    _text("outcome"),
    _text("end_reason"),
    Index(None, "workspace", "record_id"),
    Index(None, "workspace", "sequence_id"),
    Index(None, "workspace", "seller_id", "state"),
)
"""The steps that enrollments came to, in the order of `number`; `told` is 1 once it was told that one fell due, 2 that it is overdue."""

step_looks = Table(
    "step_looks", metadata, _key("workspace"), _key("record_id"), _number("due_us"), _number("told"), Index(None, "workspace", "due_us")
)
"""When the steps of a record are to be looked at next; `told` is 1 if what brought the record to its step told its owner so."""
