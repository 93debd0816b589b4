"""Opaque tokens work for what they were made for, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reallot.server.errors import ApiError
from reallot.server.tokens import hash_of, make_cursor, page_token, read_cursor, read_page_token
from reallot.v1 import record_service_pb2, seller_service_pb2


@given(number=st.integers(0, 2**62))
def test_a_cursor_comes_back_as_it_went(number: int) -> None:
    bound = hash_of("watch", "w")
    assert read_cursor(make_cursor("database", bound, number), "database", bound) == number


@pytest.mark.parametrize(
    ("database", "stream", "text"), [("other", "watch", "another database"), ("database", "subscribe", "another stream or filter")]
)
def test_a_cursor_of_another_database_or_stream_is_refused(database: str, stream: str, text: str) -> None:
    cursor = make_cursor("database", hash_of("watch", "w"), 7)
    with pytest.raises(ApiError, match=text) as caught:
        read_cursor(cursor, database, hash_of(stream, "w"))
    assert caught.value.reason == "CURSOR_MISMATCH"
    assert [v.field for v in caught.value.violations] == ["cursor"]


@given(text=st.text(min_size=1, max_size=60))
def test_texts_that_are_no_tokens_are_refused(text: str) -> None:
    with pytest.raises(ApiError):
        read_cursor(text, "database", hash_of("watch", "w"))
    with pytest.raises(ApiError):
        read_page_token(record_service_pb2.ListRecordsRequest(page_token=text))


def test_a_page_token_goes_with_its_list_and_filter_whatever_the_page_size() -> None:
    first = record_service_pb2.ListRecordsRequest(record_type="lead", page_size=10)
    token = page_token(first, "r10")
    again = record_service_pb2.ListRecordsRequest(record_type="lead", page_size=50, page_token=token)
    assert read_page_token(again) == "r10"
    for other in (
        record_service_pb2.ListRecordsRequest(record_type="account", page_token=token),
        seller_service_pb2.ListSellersRequest(page_token=token),
    ):
        with pytest.raises(ApiError) as caught:
            read_page_token(other)
        assert caught.value.reason == "PAGE_TOKEN_MISMATCH"
