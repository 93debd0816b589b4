"""Friendly values, records and sellers."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reallot.clients import Record
from reallot.clients.model import parse_hours
from reallot.clients.values import from_value, owner_text, to_owner, to_value

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.dates(),
    MOMENTS,
    st.lists(st.text()),
)


@given(value=PLAIN)
def test_values_come_back_as_they_went(value: Any) -> None:
    back = from_value(to_value(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(("value", "error"), [(Decimal("1.5"), TypeError), (datetime(2026, 1, 1), ValueError), ([1, 2], TypeError)])
def test_other_values_are_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        to_value(value)


@given(kind=st.sampled_from(["", "team:", "queue:"]), name=st.text("abcdef-", min_size=1))
def test_owners_are_written_as_they_are_read(kind: str, name: str) -> None:
    assert owner_text(to_owner(kind + name)) == kind + name


def test_hours_are_read_day_by_day() -> None:
    found = parse_hours("Mon-Tue 08:00-12:00, Fri 13:00-17:30")
    assert [(h.day, h.start_minute, h.end_minute) for h in found] == [(1, 480, 720), (2, 480, 720), (5, 780, 1050)]


@pytest.mark.parametrize("text", ["Mon", "Mo-Fr 8-17", "Mon-Xyz 08:00-17:00", ""])
def test_hours_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        parse_hours(text)


def test_a_new_owner_needs_the_expected_one() -> None:
    row = Record("r", "lead", {"a": 1}, owner="ana", expected_owner="").to_upsert()
    assert set(row.update_mask.paths) == {"owner", "fields"}
    assert row.HasField("expected_owner")
    assert not row.expected_owner.HasField("owner")
