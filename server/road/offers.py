"""Offers of rules: how long a seller has to answer, and which earlier offers of a record still count. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from reallot.server.workspace_config import RuleConfig
from reallot.solver.calendars import DAY_US, Calendar, worked_until
from reallot.v1 import segment_pb2

OFFERED = "OFFERED"
DECLINED, EXPIRED, AWAY = "DECLINED", "EXPIRED", "AWAY"
"""How an offer ends that counts against another of the same record: declined, not answered in time, or the seller went away."""
LAPSED = "LAPSED"
"""How a claim ends that is not accepted."""
LONGEST_US = 30 * DAY_US
"""An offer ends by then, however little its seller works."""
DEFAULT_OUT_AFTER = 1
_STARTS_ANEW = ("MANUAL", "SCHEDULED")


class Times(NamedTuple):
    """When a seller is reminded of an offer (None = not at all), when it ends without an answer, and what it then is."""

    remind_us: int | None
    end_us: int
    ends_as: str


def times_of(offer: segment_pb2.Offer, calendar: Calendar | None, start_us: int, now_us: int, *, made_while_away: bool = False) -> Times:
    """Return the times of an offer that was made at `start_us`, as things stand now.

    The timeout counts in the seller's working time. A seller who is away for longer than the timeout has left: the offer ends when
    that begins. Shorter absences only make it last longer, and so does one in which the offer is made, `made_while_away`.
    """
    works, timeout_us = calendar or Calendar(), offer.timeout.ToMicroseconds()
    answered_by = worked_until(works, start_us, timeout_us, LONGEST_US)
    end_us, ends_as = (answered_by if answered_by >= 0 else start_us + LONGEST_US), EXPIRED
    for gone, back in works.time_off:
        leaves_us = max(gone, now_us)
        if back - leaves_us > timeout_us and leaves_us < end_us and not (made_while_away and gone <= now_us):
            end_us, ends_as = leaves_us, AWAY
    remind_us = worked_until(works, start_us, timeout_us * offer.remind_after_percent // 100, LONGEST_US)
    reminds = offer.remind_after_percent and 0 <= remind_us < end_us
    return Times(remind_us if reminds else None, end_us, ends_as)


def out_after(rule: RuleConfig | None) -> int:
    """Return how many unanswered offers in a row take a seller out of the pool, 0 = any number does not."""
    if rule is None or not rule.message.offer.HasField("out_after"):
        return DEFAULT_OUT_AFTER
    return rule.message.offer.out_after


def starts_anew(task_kind: str, status: str) -> bool:
    """Tell whether a run asks everybody again: somebody or a schedule wants it, and of those asked so far nobody took the record."""
    return task_kind in _STARTS_ANEW and status == "SELLER_NOT_ELIGIBLE"


def still_counting(ended: Sequence[tuple[str, str, int]], since_us: dict[str, int]) -> dict[str, list[str]]:
    """Return the sellers whose offers of a record ended while it waited as it does now, by record; `ended` as storage gives them."""
    found: dict[str, list[str]] = {}
    for record_id, seller_id, end_us in ended:
        if record_id in since_us and end_us >= since_us[record_id]:
            found.setdefault(record_id, []).append(seller_id)
    return found
