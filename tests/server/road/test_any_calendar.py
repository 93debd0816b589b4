"""Random teams with random calendars in random zones: nobody ever gets a record outside working time, or above any maximum.

The oracle reads the clock on the wall minute by minute, and counts from the records and from a journal of who got what when.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from google.protobuf import duration_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server.services.sellers import SellerService
from reallot.storage.entities import Record
from reallot.v1 import seller_pb2, seller_service_pb2
from support.api import a_row, a_seller_row
from support.cases import cases
from support.office import Office, everybody, leads

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
# Clocks change in Berlin, New York and Lord Howe around some of these, and a leap day passes.
DAYS = ("2026-03-28", "2026-10-24", "2026-03-07", "2026-04-04", "2028-02-28", "2026-06-10")
SEGMENTS = ("hot", "warm", "rest")
NAMES = ("ann", "ben", "cem")


@dataclass(frozen=True)
class Team:
    """A seller as drawn: weekly hours by day in minutes, absences in minutes from the start, and maxima."""

    zone: str
    hours: tuple[tuple[int, int, int], ...]
    away: tuple[tuple[int, int], ...]
    total: int
    by_segment: dict[str, int]
    reserved: dict[str, int]
    windows: tuple[tuple[int, int, str], ...]
    ramp_up_days: int

    def works(self, instant_us: int, start_us: int) -> bool:
        """The oracle: look at the clock on the wall at that very minute."""
        minute = (instant_us - start_us) // MINUTE_US
        if any(begin <= minute < end for begin, end in self.away):
            return False
        local = datetime.fromtimestamp(instant_us / 1e6, UTC).astimezone(ZoneInfo(self.zone))
        shown = local.hour * 60 + local.minute
        return any(day == local.weekday() and begin <= shown < end for day, begin, end in self.hours)

    def row(self, name: str, start_us: int) -> seller_service_pb2.SellerUpsert:
        windows = []
        for count, hours, segment in self.windows:
            length = duration_pb2.Duration(seconds=hours * 3_600)
            windows.append(seller_pb2.CapacityWindow(count=count, duration=length, segment_id=segment))
        weekly = [seller_pb2.WeeklyHours(day=day + 1, start_minute=a, end_minute=b) for day, a, b in self.hours]  # type: ignore[arg-type]
        growing = {"ramp_up": duration_pb2.Duration(seconds=self.ramp_up_days * 86_400)} if self.ramp_up_days else {}
        return a_seller_row(
            name,
            capacity=seller_pb2.Capacity(total=self.total, by_segment=self.by_segment, reserved=self.reserved, windows=windows),
            calendar=seller_pb2.Calendar(time_zone=self.zone, weekly=weekly),
            **growing,
        )


def weeks() -> st.SearchStrategy[tuple[tuple[int, int, int], ...]]:
    """One stretch a day on most days, at any minutes."""
    minutes = st.tuples(st.integers(0, 1_439), st.integers(1, 1_440)).filter(lambda ab: ab[0] < ab[1])
    return st.dictionaries(st.integers(0, 6), minutes, max_size=7).map(lambda days: tuple((d, a, b) for d, (a, b) in sorted(days.items())))


some = st.dictionaries(st.sampled_from(SEGMENTS), st.integers(0, 3), max_size=2)
windows = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([1, 5, 24]), st.sampled_from(["", *SEGMENTS])), max_size=2, unique_by=lambda w: w[1:]
)
teams = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        Team,
        st.sampled_from(ZONES),
        weeks(),
        st.lists(st.tuples(st.integers(0, 2_880), st.integers(1, 2_880)).map(lambda ab: (ab[0], sum(ab))), max_size=1).map(tuple),
        st.integers(0, 6),
        some,
        some,
        windows.map(tuple),
        st.sampled_from([0, 0, 1]),
    ),
    min_size=1,
)
steps = st.lists(
    st.tuples(st.integers(0, 1_500), st.lists(st.tuples(st.sampled_from([0, 5, 9]), st.integers(1, 2)), max_size=4), st.integers(0, 2)),
    min_size=1,
    max_size=3,
)
"""Minutes that pass, the scores and efforts of leads that come, and how many owned ones are closed."""


@dataclass
class Oracle:
    """What is known of the owners so far: who came to have what, and when."""

    team: dict[str, Team]
    start_us: int
    within_us: int
    journal: list[tuple[int, Record]]
    owners: dict[str, str]

    def look(self, records: Sequence[Record], now_us: int) -> None:
        """Hold the owners that are new since the last look to everything."""
        fresh = [r for r in records if r.owner is not None and self.owners.get(r.record_id) != r.owner.id]
        self.journal += [(now_us, record) for record in fresh]
        self.owners = {r.record_id: r.owner.id for r in records if r.owner is not None}
        for name in {r.owner.id for r in fresh if r.owner is not None}:
            mine = [r for r in records if r.owner is not None and r.owner.id == name and r.active]
            gained = [r for r in fresh if r.owner is not None and r.owner.id == name]
            assert self._there(self.team[name], now_us), f"{name} is away"
            assert list(self._broken(name, mine, gained, now_us)) == []

    def _there(self, seller: Team, now_us: int) -> bool:
        return any(seller.works(at, self.start_us) for at in range(now_us, now_us + self.within_us + 1, MINUTE_US))

    def _broken(self, name: str, mine: Sequence[Record], gained: Sequence[Record], now_us: int) -> Iterator[str]:
        """Yield the maxima that are exceeded, of those that what was gained counts in."""
        seller = self.team[name]
        passed_us = now_us - self.start_us
        grown = max(1, seller.total * passed_us // (seller.ramp_up_days * DAY_US)) if seller.ramp_up_days and seller.total else seller.total
        total = min(seller.total, grown)
        if sum(r.effort for r in mine) > total:
            yield "total"
        for segment in {r.segment_id for r in gained}:
            if sum(r.effort for r in mine if r.segment_id == segment) > seller.by_segment.get(segment, 1_000):
                yield segment
            earlier = SEGMENTS[: SEGMENTS.index(segment)]
            for last in range(len(earlier)):
                outside = [r for r in mine if r.segment_id not in earlier[: last + 1]]
                if any(seller.reserved.get(s) for s in earlier[last : last + 1]):
                    kept = sum(seller.reserved.get(s, 0) for s in earlier[: last + 1])
                    if sum(r.effort for r in outside) > total - kept:
                        yield f"reserved for {earlier[: last + 1]}"
        for count, hours, segment in seller.windows:
            if segment in ("", *(r.segment_id for r in gained)):
                recent = [r for at, r in self.journal if r.owner and r.owner.id == name and at > now_us - hours * HOUR_US]
                if sum(r.effort for r in recent if segment in ("", r.segment_id)) > count:
                    yield f"{count} in {hours} hours"


def configuration(within: str) -> list[Any]:
    rule = {"rule_id": "any", "available_within": within, "policy": "POLICY_LOAD_BALANCING"}
    hot, warm = ({"segment_id": s, "record_type": "lead", "priority": n, "rules": [rule]} for n, s in ((1, "hot"), (2, "warm")))
    hot["condition"], warm["condition"] = "record.score > 8", "record.score > 4"
    return leads(hot, warm, everybody("rest", rule), settings={})


@settings(deadline=None, max_examples=cases(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(team=teams, days=st.tuples(st.sampled_from(DAYS), st.integers(0, 2_879)), within_hours=st.sampled_from([0, 24]), history=steps)
def test_nobody_gets_anything_while_away_or_above_a_maximum(
    shared_office: Office,
    team: dict[str, Team],
    days: tuple[str, int],
    within_hours: int,
    history: list[tuple[int, list[tuple[int, int]], int]],
) -> None:
    office = shared_office
    office.move()
    start_us = int(datetime.fromisoformat(days[0]).replace(tzinfo=UTC).timestamp()) * 1_000_000 + days[1] * MINUTE_US
    office.runner.run(office.clock.set(start_us))
    office.apply(*configuration(f"{within_hours * 3_600}s"))
    service = SellerService(office.runtime)
    office.call(service.UpsertSellers, seller_service_pb2.UpsertSellersRequest(sellers=[t.row(n, start_us) for n, t in team.items()]))
    for name, seller in team.items():
        for number, (begin, end) in enumerate(seller.away):
            trip = seller_pb2.TimeOff(time_off_id=f"t{number}")
            trip.start_time.FromMicroseconds(start_us + begin * MINUTE_US)
            trip.end_time.FromMicroseconds(start_us + end * MINUTE_US)
            office.call(service.AddTimeOff, seller_service_pb2.AddTimeOffRequest(seller_ids=[name], time_off=trip))
    oracle = Oracle(team, start_us, within_hours * HOUR_US, [], {})
    for number, (minutes, arriving, closing) in enumerate(history):
        office.runner.run(office.clock.set(office.clock.now_us() + minutes * MINUTE_US))
        owned = [r.record_id for r in office.records() if r.owner is not None and r.active][:closing]
        rows = [a_row(f"l{number}-{i}", {"score": score}, effort=effort) for i, (score, effort) in enumerate(arriving)]
        if rows or owned:
            office.upsert(*rows, *(a_row(record_id, active=False) for record_id in owned))
        office.start()
        office.work()
        oracle.look(office.records(), office.clock.now_us())
