"""Conditions over columns, held against the C++ evaluator of CEL record by record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.segmentation import ConditionError, Field, FieldType, Schema, compile_condition, evaluate, frame_from_json, frame_of
from support.cases import cases

SCHEMA = Schema(
    (
        Field("country", FieldType.TEXT),
        Field("name", FieldType.TEXT),
        Field("revenue", FieldType.DECIMAL),
        Field("staff", FieldType.INTEGER),
        Field("hot", FieldType.BOOLEAN),
        Field("tags", FieldType.TEXT_LIST),
        Field("seen", FieldType.TIMESTAMP),
        Field("due", FieldType.DATE),
        Field("source", FieldType.TEXT, fold_case=True),
    )
)
ROOTS = {"record": SCHEMA}
KINDS = {
    "record.country": cel.Type.STRING,
    "record.name": cel.Type.STRING,
    "record.revenue": cel.Type.DOUBLE,
    "record.staff": cel.Type.INT,
    "record.hot": cel.Type.BOOL,
    "record.tags": cel.Type.List(cel.Type.STRING),
    "record.seen": cel.Type.TIMESTAMP,
    "now": cel.Type.TIMESTAMP,
}
TEXTS = st.sampled_from(["", "DE", "AT", "de", "Ä", "D"])
NUMBERS = st.integers(-3, 3)
NOW_US = 5_000_000
INSTANTS = st.sampled_from([0, 3_999_999, 4_000_000, 5_000_000, 6_000_001])
DECIMALS = st.sampled_from([-1.5, 0.0, 1.0, 2.5])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "country": TEXTS,
        "name": TEXTS,
        "revenue": DECIMALS,
        "staff": NUMBERS,
        "hot": st.booleans(),
        "tags": st.lists(TEXTS, max_size=3),
        "seen": INSTANTS,
    },
)
COMPARISON = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
EQUALITY = st.sampled_from(["==", "!="])


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


ATOMS = st.one_of(
    st.builds(lambda f, o, t: f"record.{f} {o} {quoted(t)}", st.sampled_from(["country", "name"]), COMPARISON, TEXTS),
    st.builds(lambda o: f"record.country {o} record.name", COMPARISON),
    st.builds(lambda o, n: f"record.staff {o} {n}", COMPARISON, NUMBERS),
    st.builds(lambda o, a, n: f"record.staff {a} 2 {o} {n}", COMPARISON, st.sampled_from("+-*"), NUMBERS),
    st.builds(lambda o, n: f"record.revenue {o} {n}", COMPARISON, DECIMALS),
    st.builds(lambda o, a: f"record.revenue {a} 2.0 {o} 1.0", COMPARISON, st.sampled_from("+-*/")),
    st.builds(lambda o, b: f"record.hot {o} {str(b).lower()}", EQUALITY, st.booleans()),
    st.just("record.hot"),
    st.builds(lambda o, s: f'record.seen {o} now - duration("{s}s")', COMPARISON, NUMBERS),
    st.builds(lambda o, s: f'now - record.seen {o} duration("{s}s")', COMPARISON, NUMBERS),
    st.builds(lambda o: f'record.seen {o} timestamp("1970-01-01T00:00:04Z")', COMPARISON),
    st.builds(lambda a, b: f"record.staff >= {a} && record.staff <= {b}", NUMBERS, NUMBERS),
    st.builds(lambda v: f"record.country in [{', '.join(map(quoted, v))}]", st.lists(TEXTS, max_size=3)),
    st.builds(lambda v: f"record.staff in [{', '.join(map(str, v))}]", st.lists(NUMBERS, max_size=3)),
    st.builds(lambda t: f"{quoted(t)} in record.tags", TEXTS),
    st.builds(lambda f, t: f"record.country.{f}({quoted(t)})", st.sampled_from(["contains", "startsWith", "endsWith"]), TEXTS),
    st.builds(lambda f, n: f"size(record.{f}) > {n}", st.sampled_from(["country", "tags"]), st.integers(0, 2)),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"({a}) && ({b})", inner, inner),
        st.builds(lambda a, b: f"({a}) || ({b})", inner, inner),
        st.builds(lambda a: f"!({a})", inner),
        st.builds(lambda a, b, c: f"(({a}) ? ({b}) : ({c}))", inner, inner, inner),
    ),
    max_leaves=5,
)


def instant(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def reference(text: str, record: dict[str, Any]) -> bool:
    """The evaluator on one record; whatever fails for want of a value matches nothing."""
    environment = cel.NewEnv(variables=KINDS)
    try:
        data = {f"record.{k}": instant(v) if k == "seen" else v for k, v in record.items()} | {"now": instant(NOW_US)}
        value = environment.compile(text).eval(data=data)
    except RuntimeError:
        return False
    return value.type() == cel.Type.BOOL and bool(value.value())


def holds(text: str, *records: dict[str, Any], now_us: int = 0) -> list[bool]:
    frame = frame_from_json("record", SCHEMA, [json.dumps(r) for r in records])
    found: list[bool] = evaluate([compile_condition(text, ROOTS)], frame, now_us=now_us)[:, 0].tolist()
    return found


@settings(max_examples=cases(200), deadline=None)
@given(text=CONDITIONS, records=st.lists(RECORDS, min_size=1, max_size=6))
def test_columns_answer_as_the_evaluator_does(text: str, records: list[dict[str, Any]]) -> None:
    assert holds(text, *records, now_us=NOW_US) == [reference(text, record) for record in records]


@settings(max_examples=cases(50), deadline=None)
@given(texts=st.lists(CONDITIONS, min_size=1, max_size=4), records=st.lists(RECORDS, max_size=5))
def test_many_conditions_at_once_answer_as_each_alone(texts: list[str], records: list[dict[str, Any]]) -> None:
    frame = frame_of("record", SCHEMA, records)
    together = evaluate([compile_condition(t, ROOTS) for t in texts], frame, now_us=NOW_US)
    assert together.shape == (len(records), len(texts))
    for column, text in enumerate(texts):
        assert together[:, column].tolist() == (holds(text, *records, now_us=NOW_US) if records else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("empty(record.country)", [True, True, False]),
        ("present(record.country)", [False, False, True]),
        ("empty(record.tags)", [True, True, False]),
        ("empty(record.staff)", [True, False, False]),
        ('record.source == "GOOGLE"', [False, False, True]),
        ('record.source in ["google"]', [False, False, True]),
        ('record.source.contains("OOG")', [False, False, True]),
        ("record.revenue >= 1", [False, False, True]),
        ("record.revenue in [2, 2.5]", [False, False, True]),
        ('record.due < date("2026-03-02")', [False, True, False]),
        ('record.seen >= timestamp("1970-01-01T00:00:01Z")', [False, False, True]),
        ('record.seen > now - duration("1s")', [False, False, True]),
        ("true", [True, True, True]),
    ],
)
def test_what_cel_alone_does_not_know(text: str, expected: list[bool]) -> None:
    records = [
        {},
        {"country": "", "tags": [], "staff": 0, "source": "bing", "due": 20_513, "seen": 1, "revenue": 0.5},
        {"country": "DE", "tags": ["x"], "staff": 1, "source": "Google", "due": 20_514, "seen": 2_000_000, "revenue": 2.5},
    ]
    assert holds(text, *records, now_us=2_500_000) == expected


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "is empty", 1, 1),
        ("record.country ==", "Syntax error", 1, 18),
        ("record.hot &&\n  record.country > 5", "no matching overload", 2, 18),
        ('record.contry == "DE"', "did you mean record.country", 1, 7),
        ("has(record.country)", "use present", 1, 1),
        ("record.staff", "not true or false", 1, 1),
        ('record.tags.exists(x, x == "a")', "macros", 1, 19),
        ('record.country.matches("a")', "not available", 1, 23),
        ("record.country == null", "no matching overload", 1, 16),
        ('record.revenue >= "a"', "no matching overload", 1, 16),
        ("unknown(record.staff)", "not declared", 1, 8),
        ('seller.country == "DE"', "not declared", 1, 7),
        ("record.staff / 2 == 1", "not available between", 1, 14),
        ("record.hot < true", "no order", 1, 12),
        ('record.country in ["a", 1]', "not text", 1, 16),
        ('record.seen > timestamp("2026-03-01T00:00:00")', "no time zone", 1, 24),
        ('record.due > date("2026-13-01")', "is no date", 1, 18),
        ("(" * 60 + "true" + ")" * 60, "nested deeper", 1, 51),
        ("true || " * 2_000 + "true", "characters", 1, 1),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(ConditionError, match=message) as caught:
        compile_condition(text, ROOTS)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_condition_knows_what_it_reads() -> None:
    found = compile_condition('record.country == "DE" && record.seen < now', ROOTS)
    assert found.fields("record") == ("country", "seen")
    assert found.uses_now
    assert not compile_condition("record.hot", ROOTS).uses_now


@pytest.mark.parametrize("text", ["true", "record.hot", 'record.country == "DE"'])
def test_no_records_give_no_answers(text: str) -> None:
    assert holds(text) == []


@pytest.mark.parametrize("text", ["record.n >= 2", "record.n in [1, 3]", 'record.at > timestamp("1970-01-01T00:00:00Z")'])
def test_only_texts_are_folded(text: str) -> None:
    schema = Schema((Field("n", FieldType.INTEGER, fold_case=True), Field("at", FieldType.TIMESTAMP, fold_case=True)))
    condition = compile_condition(text, {"record": schema})
    assert evaluate([condition], frame_of("record", schema, [{"n": 3, "at": 5}, {"n": 0}]), now_us=0)[:, 0].tolist() == [True, False]
