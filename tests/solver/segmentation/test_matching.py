"""Which sellers fit which records, held against trying every pair."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.segmentation import (
    Field,
    FieldType,
    Schema,
    TooManyPairs,
    compile_condition,
    evaluate,
    first_match,
    frame_of,
    match_sellers,
    seller_schema,
)
from support.cases import cases

RECORD = Schema((Field("country", FieldType.TEXT), Field("size", FieldType.INTEGER), Field("due", FieldType.DATE)))
SELLER = seller_schema([Field("country", FieldType.TEXT), Field("least", FieldType.INTEGER), Field("from", FieldType.DATE)])
ROOTS = {"record": RECORD, "seller": SELLER}
COUNTRIES = st.sampled_from(["DE", "AT", ""])
RECORDS = st.fixed_dictionaries({}, optional={"country": COUNTRIES, "size": st.integers(0, 3), "due": st.integers(0, 2)})
SELLERS = st.fixed_dictionaries(
    {"seller_id": st.sampled_from(["ana", "ben"])},
    optional={
        "country": COUNTRIES,
        "least": st.integers(0, 3),
        "teams": st.lists(st.sampled_from(["dach", "DE"]), max_size=2),
        "skills": st.dictionaries(st.just("big"), st.integers(1, 10)),
        "from": st.integers(0, 2),
    },
)
CONDITIONS = [
    "true",
    "seller.country == record.country",
    "record.country == seller.country && seller.least <= record.size",
    'seller.country == "DE"',
    'record.country == "DE"',
    "seller.skills.big >= 5 && seller.country == record.country",
    '"dach" in seller.teams || seller.country == record.country',
    "record.country in seller.teams",
    "seller.country == record.country && seller.least == record.size && record.size > 0",
    "record.size + seller.least > 3",
    'seller.seller_id == "ana" && (record.size > 1 || seller.least > 1)',
    "seller.from == record.due",
    "seller.country == record.country || seller.least == record.size",
    "(seller.country == record.country || record.size == seller.least) && (seller.least == record.size || record.size > 1)",
    "seller.country == record.country && (seller.least == record.size || seller.country == record.country)",
]


@settings(max_examples=cases(100), deadline=None)
@given(text=st.sampled_from(CONDITIONS), records=st.lists(RECORDS, max_size=5), sellers=st.lists(SELLERS, max_size=4))
def test_matches_are_those_of_every_pair(text: str, records: list[dict[str, Any]], sellers: list[dict[str, Any]]) -> None:
    condition = compile_condition(text, ROOTS)
    seller_frame = frame_of("seller", SELLER, sellers, skills=["big"])
    found = match_sellers(condition, frame_of("record", RECORD, records), seller_frame, now_us=0)
    assert len(found.combination_of) == len(records)
    for row, record in enumerate(records):
        expected = []
        for index, seller in enumerate(sellers):
            pair = frame_of("record", RECORD, [record]).hstack(frame_of("seller", SELLER, [seller], skills=["big"]))
            if evaluate([condition], pair, now_us=0)[0, 0]:
                expected.append(index)
        assert found.sellers_of(int(found.combination_of[row])).tolist() == expected


def test_records_that_look_alike_share_a_combination() -> None:
    condition = compile_condition("seller.country == record.country", ROOTS)
    records = frame_of("record", RECORD, [{"country": "DE", "size": n} for n in range(50)])
    found = match_sellers(condition, records, frame_of("seller", SELLER, [{"seller_id": "ana", "country": "DE"}]), now_us=0)
    assert set(found.combination_of.tolist()) == {0}
    assert found.seller.tolist() == [0]


def test_too_many_pairs_name_the_fields() -> None:
    condition = compile_condition("record.size + seller.least > 3", ROOTS)
    records = frame_of("record", RECORD, [{"size": n} for n in range(20)])
    sellers = frame_of("seller", SELLER, [{"seller_id": str(n), "least": n} for n in range(20)])
    with pytest.raises(TooManyPairs, match=r"record\.size") as caught:
        match_sellers(condition, records, sellers, now_us=0, max_pairs=399)
    assert caught.value.pairs == 400


def test_the_first_match_is_found_in_each_row() -> None:
    matches = np.array([[False, True, True], [False, False, False], [True, True, False]])
    assert first_match(matches).tolist() == [1, -1, 0]
    assert first_match(np.zeros((2, 0), dtype=np.bool_)).tolist() == [-1, -1]
