"""Records whose segment takes part no more."""

from support.api import a_segment, resource
from support.office import Office, everybody, leads


def test_a_record_of_an_inactive_segment_stays_there_when_no_other_takes_it_in(office: Office) -> None:
    first = a_segment("first", 1, condition="record.score == 1")
    second = a_segment("second", 2, condition="record.score == 2")
    office.apply(*leads(first, second, everybody("rest")))
    office.lead("L1", score=1)
    office.work()
    office.apply(resource(segment=first | {"state": "RESOURCE_STATE_INACTIVE"}))
    office.lead("L1", score=2)
    office.work()
    found = office.record("L1")
    assert (found.segment_id, found.segmentation) == ("first", "MOVE_NOT_ALLOWED")


def test_a_record_of_an_inactive_segment_moves_where_moves_are_accepted(office: Office) -> None:
    first = a_segment("first", 1, condition="record.score == 1")
    second = a_segment("second", 2, condition="record.score == 2", accepts_moves=True)
    office.apply(*leads(first, second))
    office.lead("L1", score=1)
    office.work()
    office.apply(resource(segment=first | {"state": "RESOURCE_STATE_INACTIVE"}))
    office.lead("L1", score=2)
    office.work()
    assert office.record("L1").segment_id == "second"
