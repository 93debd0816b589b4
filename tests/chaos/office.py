"""The configuration and the sellers of a fault test, and how they are written."""

import random

from reallot.clients import Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import config_pb2

SELLERS = 12
REGIONS = ("north", "south")
STAGES = ("new", "warm", "hot", "cold")
STEPS = [{"step_id": "call", "call": {"subject": "Call"}}]
SEQUENCES = [{"sequence_id": name, "record_type": "lead", "steps": STEPS} for name in ("first", "second")]


def sellers() -> dict[str, int]:
    """Return the first capacity of every seller: small ones, so that maxima are reached all the time."""
    return {f"s{number:02d}": 4 + 2 * (number % 4) for number in range(SELLERS)}


WINDOW = "40/10m"
"""The rolling window of every third seller: it never changes."""


def seller(seller_id: str, capacity: int) -> Seller:
    """Return a seller of the region that the id stands for."""
    number = int(seller_id[1:])
    windows = [WINDOW] if number % 3 == 0 else []
    return Seller(seller_id, attributes={"region": REGIONS[number % 2]}, capacity=capacity, windows=windows)


def configuration() -> list[config_pb2.ConfigResource]:
    """Return leads, which are assigned on arrival and move between segments with sequences, and deals, which wait for runs."""
    texts = [{"field_id": name, "type": "FIELD_TYPE_TEXT"} for name in ("token", "stage", "region")]
    by_region = {"rule_id": "region", "target": {"matching": "seller.region == record.region"}, "policy": "POLICY_LOAD_BALANCING"}
    anybody = {"rule_id": "anybody", "policy": "POLICY_ROUND_ROBIN", "target": {"any": {}}}
    hot = {"segment_id": "hot", "record_type": "lead", "priority": 1, "condition": 'record.stage == "hot"', "rules": [by_region, anybody]}
    moves = {"accepts_moves": True, "assign_on_move": True, "sequence_id": "first"}
    resources, _ = parse_bundle(
        {
            "settings": {"digest_above": 20, "seller_fields": [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}]},
            "record_types": [{"record_type": kind, "fields": texts} for kind in ("lead", "deal")],
            "sequences": SEQUENCES,
            "segments": [
                hot | moves,
                {"segment_id": "leads", "record_type": "lead", "is_default": True, "sequence_id": "second", "rules": [anybody]},
                {"segment_id": "deals", "record_type": "deal", "is_default": True, "on_arrival": "ON_ARRIVAL_WAIT", "rules": [by_region]},
            ],
            "schedules": [schedule()],
        }
    )
    return list(resources)


def schedule(*, paused: bool = False) -> dict[str, object]:
    """Return the schedule that tries waiting deals again."""
    state = "RESOURCE_STATE_PAUSED" if paused else "RESOURCE_STATE_ACTIVE"
    return {"schedule_id": "again", "every": {"duration": "60s"}, "selection": {"record_type": "deal"}, "state": state}


def touched(rng: random.Random) -> list[config_pb2.ConfigResource]:
    """Return a segment with another name and policy: rules and priorities stay."""
    found = [resource for resource in configuration() if resource.WhichOneof("resource") == "segment"]
    resource = rng.choice(found)
    resource.segment.display_name = f"renamed {rng.randrange(1_000)}"
    return [resource]
