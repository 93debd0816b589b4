"""`reallot explain`, `sellers suited`: why a record is whose it is, and what suits a seller."""

from typing import Annotated, Any

import typer

from reallot.clients.commands.asking import maximum_text
from reallot.clients.terminal import DEFAULT_ADDRESS, Address, AsJson, Workspace, connected, document, out, say, short, table
from reallot.clients.values import moment, owner_text
from reallot.v1 import event_pb2, insight_service_pb2, record_pb2

_YES = {True: "yes", False: ""}


def explain(
    record: str,
    other: Annotated[str, typer.Option("--to", help="Also say what it would take for this seller to get it.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Do not plan again: only where it stands.")] = False,
    names: Annotated[int, typer.Option(help="Sellers to name for each verdict.")] = 5,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Explain where a record stands: its segment, what its rules make of it, who would get it now and what stands in its way."""
    with connected(address, workspace) as client:
        request = insight_service_pb2.ExplainRecordRequest(
            record_id=record, sellers_per_verdict=names, prove=not quick, other_seller_id=other
        )
        answer = client.stubs.insight.ExplainRecord(request)
    if as_json:
        say(document(answer))
        return
    out.print(answer.summary, markup=False)
    rows = [(s.segment_id, _YES[s.matches], _YES[s.present], s.condition or "(default)") for s in answer.segments]
    table("Segments, in order", ("segment", "matches", "in it", "condition"), rows)
    verdicts = [
        (rule.rule_id, _status(rule.status), _verdict(v.verdict), v.sellers, ", ".join(v.seller_ids))
        for rule in answer.rules
        for v in rule.verdicts
    ]
    # What it takes itself is not free: for who owns it, the rules are asked about another like it.
    title = "What its rules make of it now" if not answer.record.HasField("owner") else "What its rules would make of another like it now"
    table(title, ("rule", "would be", "verdict", "sellers", "among them"), verdicts, numbers=("sellers",))
    _planned(answer)
    log = [(f"{moment(d.time):%Y-%m-%d %H:%M:%S}", _status(d.status), owner_text(d.after.owner), d.reason) for d in answer.decisions]
    table("Its log, newest first", ("time (UTC)", "status", "owner", "reason"), log)


def _planned(answer: insight_service_pb2.ExplainRecordResponse) -> None:
    """Print what planning again has said."""
    rows = [
        (
            s.seller_id,
            s.rule_id,
            _verdict(s.verdict),
            f"{s.score:g}" if s.HasField("score") else "",
            _YES[s.preferred],
            s.available_in_days,
            ", ".join(maximum_text(maximum) for maximum in s.full),
        )
        for s in answer.sellers
    ]
    if rows:
        columns = ("seller", "rule", "verdict", "score", "preferred", "days off", "full")
        table("Its sellers, the best first", columns, rows, numbers=("score", "days off"))
    if answer.HasField("planned"):
        who = f"{answer.planned.seller_id} by rule {answer.planned.rule_id}" if answer.planned.seller_id else "nobody"
        sure = "" if answer.planned.proven else " (not proven optimal)"
        out.print(f"Planned again now, with {counted(answer.planned.planned_together, 'record')} in all: {who}{sure}.", markup=False)
    if answer.HasField("blocking"):
        _blocked(answer.blocking)
    if answer.HasField("alternative"):
        _alternative(answer.alternative)


def _blocked(blocking: insight_service_pb2.BlockingSet) -> None:
    free = sum(max(maximum.free, 0) for maximum in blocking.maxima)
    proof = "proven" if blocking.verified else "NOT VERIFIED"
    records, slots = counted(blocking.records, "record"), counted(free, "slot")
    out.print(f"What stands in its way ({proof}): {records} for {slots}; none of these can be left out.")
    rows = [(maximum.seller_id, maximum_text(maximum), max(maximum.free, 0)) for maximum in blocking.maxima]
    table("", ("seller", "maximum", "slots"), rows, numbers=("slots",))
    if blocking.records > 1:
        named = blocking.record_ids[:20]
        more = f" and {blocking.records - len(named):,} more" if blocking.records > len(named) else ""
        out.print(f"records: {', '.join(named)}{more}", markup=False)


def _alternative(found: insight_service_pb2.Alternative) -> None:
    if not found.changes:
        known = "gets it as things stand" if found.verified else "does not get it, and nothing is known that would change that"
        out.print(f"{found.seller_id} {known}.", markup=False)
        return
    proof = "planned again with it, the record goes there" if found.verified else "not enough as far as known"
    out.print(f"For {found.seller_id} to get it ({proof}):", markup=False)
    for change in found.changes:
        out.print(f"  - {change.text}", markup=False)


def suited(
    seller: str,
    count: Annotated[int, typer.Option(help="Records to show.")] = 10,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List the waiting records that suit a seller best."""
    with connected(address, workspace) as client:
        answer = client.stubs.insight.ExplainSeller(insight_service_pb2.ExplainSellerRequest(seller_id=seller, count=count))
    if as_json:
        say(document(answer))
        return
    rows: list[tuple[Any, ...]] = [
        (s.record_id, s.rule_id, s.rule_rank, f"{s.score:g}" if s.HasField("score") else "", r.priority, s.planned_seller_id or "(nobody)")
        for s, r in zip(answer.suited, answer.records, strict=True)
    ]
    columns = ("record", "rule", "rank", "score", "priority", "planned now for")
    table("Waiting records, the best first", columns, rows, numbers=("rank", "score", "priority"))


def counted(number: int, what: str) -> str:
    """Return a number of something for people."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _verdict(number: int) -> str:
    return short(event_pb2.Verdict.Name(number), "VERDICT_").replace("_", " ")  # type: ignore[arg-type]


def _status(number: int) -> str:
    return short(record_pb2.AssignmentStatus.Name(number), "ASSIGNMENT_STATUS_")  # type: ignore[arg-type]
