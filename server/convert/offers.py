"""Offers between storage and the contract."""

from reallot.server.convert.values import from_us, maybe_from_us
from reallot.server.road.offers import LAPSED
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage.entities import Offer, Record
from reallot.v1 import assignment_service_pb2


def offer_message(offer: Offer, record: Record, config: WorkspaceConfig) -> assignment_service_pb2.OpenOffer:
    """Return an open offer of a record as a message."""
    return assignment_service_pb2.OpenOffer(
        record_id=offer.record_id,
        record_type=record.record_type,
        title=config.title(record.record_type, record.record_id, record.fields),
        segment_id=record.segment_id,
        seller_id=offer.seller_id,
        rule_id=offer.rule_id,
        start_time=from_us(offer.start_us),
        remind_time=maybe_from_us(offer.remind_us),
        end_time=from_us(offer.end_us),
        claimed=offer.ends_as == LAPSED,
    )
