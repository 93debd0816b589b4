"""Until the next instant that is told, no answer changes: held against asking at every instant."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.segmentation import NEVER, ConditionError, Field, FieldType, Schema, compile_condition, evaluate, frame_of, next_change
from support.cases import cases

SCHEMA = Schema((Field("seen", FieldType.TIMESTAMP), Field("met", FieldType.TIMESTAMP), Field("hot", FieldType.BOOLEAN)))
HORIZON = 40
SIDES = st.sampled_from(
    [
        *("record.seen", "record.met", "now", 'now - duration("5us")', 'now + duration("3us")', 'record.seen + duration("7us")'),
        'timestamp("1970-01-01T00:00:00.000011Z")',
    ]
)
LENGTHS = st.sampled_from(["now - record.seen", "record.met - now", 'duration("6us")', "(now - record.seen) + (now - record.met)"])
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
ATOMS = st.one_of(
    st.builds(lambda a, o, b: f"{a} {o} {b}", SIDES, OPERATORS, SIDES),
    st.builds(lambda a, o, b: f"{a} {o} {b}", LENGTHS, OPERATORS, LENGTHS),
    st.just("record.hot"),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"({a}) && ({b})", inner, inner),
        st.builds(lambda a, b: f"({a}) || ({b})", inner, inner),
        st.builds(lambda a: f"!({a})", inner),
        st.builds(lambda a, b, c: f"(({a}) ? ({b}) : ({c}))", inner, inner, inner),
    ),
    max_leaves=4,
)
INSTANTS = st.integers(0, 30)
RECORDS = st.fixed_dictionaries({}, optional={"seen": INSTANTS, "met": INSTANTS, "hot": st.booleans()})


@settings(max_examples=cases(150), deadline=None)
@given(texts=st.lists(CONDITIONS, min_size=1, max_size=2), records=st.lists(RECORDS, min_size=1, max_size=4), now=st.integers(0, 25))
def test_no_answer_changes_before_the_instant_that_is_told(texts: list[str], records: list[dict[str, Any]], now: int) -> None:
    conditions = [compile_condition(text, {"record": SCHEMA}) for text in texts]
    frame = frame_of("record", SCHEMA, records)
    told = next_change(conditions, frame, now_us=now)
    answers = [evaluate(conditions, frame, now_us=instant).tolist() for instant in range(now, HORIZON)]
    for row, instant in enumerate(told.tolist()):
        assert instant > now
        upto = min(instant, HORIZON) - now
        assert all(later[row] == answers[0][row] for later in answers[:upto])


def told(text: str, record: dict[str, Any], now_us: int) -> int:
    frame = frame_of("record", SCHEMA, [record])
    return int(next_change([compile_condition(text, {"record": SCHEMA})], frame, now_us=now_us)[0])


@pytest.mark.parametrize(
    ("text", "record", "now", "expected"),
    [
        ('record.seen > now - duration("30d")', {"seen": 1_000_000}, 2_000_000, 1_000_000 + 30 * 86_400_000_000),
        ("record.seen <= now", {"seen": 50}, 10, 50),
        ("record.seen < now", {"seen": 50}, 50, 51),
        ("record.seen < now", {"seen": 50}, 51, NEVER),
        ("record.seen < now", {}, 51, NEVER),
        ("record.hot", {"hot": True}, 51, NEVER),
        ("now - now == record.seen - record.seen", {"seen": 3}, 51, NEVER),
    ],
)
def test_the_instant_is_that_of_the_change(text: str, record: dict[str, Any], now: int, expected: int) -> None:
    assert told(text, record, now) == expected


def test_a_present_instant_that_is_chosen_is_refused() -> None:
    with pytest.raises(ConditionError, match="cannot be chosen"):
        compile_condition("(record.hot ? now : record.seen) > record.met", {"record": SCHEMA})
