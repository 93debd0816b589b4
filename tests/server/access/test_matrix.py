"""Every call, by everybody, everywhere, with every kind of token and certificate: nothing passes that should not.

What each role may do is written down here once more, by hand: the table of the server is held to it.
"""

import asyncio
import base64
import hmac
import json
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from fortress import BAD_KEY, GOOD_KEY, METHODS, MISSING, OTHER, OWN, Answer, Fortress, call, request_for, signed

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.bundle import parse_bundle

OPEN = {"Health.Check", "Health.Watch"}
ANYBODY = {"ServerReflection.ServerReflectionInfo"}
READING = set(
    """
    RecordService.GetRecord RecordService.ListRecords RecordService.ListDecisions
    SellerService.GetSeller SellerService.ListSellers SellerService.GetAvailability SellerService.ListCapacity
    ConfigService.GetConfig ConfigService.ListConfig ConfigService.Export ConfigService.CheckCondition ConfigService.SimulateSegment
    ConfigService.PreviewSchedule
    AssignmentService.GetRun AssignmentService.ListRuns AssignmentService.WatchRun AssignmentService.ListPreview
    AssignmentService.ReplayRun AssignmentService.ListEligibleSellers AssignmentService.ListOffers
    InsightService.ExplainRecord InsightService.ExplainSeller InsightService.WhatIf InsightService.GetWorth InsightService.Compare
    InsightService.GetReport InsightService.GetStatus InsightService.GetFrontier
    SequenceService.ListSteps SequenceService.ListEnrollments SequenceService.GetStatistics
    EventService.Watch EventService.ListEvents
    """.split()
)
RUNNING = set(
    """
    SellerService.UpsertSellers SellerService.RetireSeller SellerService.DeleteSellers SellerService.SetCalendar
    SellerService.AddTimeOff SellerService.RemoveTimeOff SellerService.ReturnSellers
    AssignmentService.StartRun AssignmentService.CancelRun AssignmentService.ApplyRun AssignmentService.DropRun
    AssignmentService.UndoRun AssignmentService.AssignRecords AssignmentService.ReleaseRecords
    SequenceService.Connect SequenceService.Disconnect SolverService.Solve SolverService.CheckPlan
    EventService.Subscribe EventService.ListNotifications
    """.split()
)
LIVES = {
    f"WorkspaceService.{verb}"
    for verb in ("CreateWorkspace", "ListWorkspaces", "RenameWorkspace", "ExportWorkspace", "RestoreWorkspace", "DeleteWorkspace")
}
SERVER = {name for name in METHODS if name.split(".")[0] in ("ClockService", "Channelz")} | LIVES
STEPS = {"SequenceService.CompleteStep", "SequenceService.SkipStep", "SequenceService.SnoozeStep"}
ALLOWED = {
    "viewer": READING | {"ConfigService.ListChanges"},
    "integrator": READING
    | RUNNING
    | STEPS
    | {"RecordService.UpsertRecords", "RecordService.ImportRecords", "RecordService.DeleteRecords"}
    | {"AssignmentService.RespondToOffer", "AssignmentService.ExtendClaim", "AssignmentService.ClaimNext", "EventService.Acknowledge"},
    "admin": READING
    | RUNNING
    | {"ConfigService.Apply", "ConfigService.DeleteConfig", "ConfigService.ListChanges", "ConfigService.ListAudit"}
    | {"WorkspaceService.ExportPersonalData", "WorkspaceService.RedactPersonalData"},
    "operator": SERVER | {"InsightService.GetStatus"},
}
OWN_SELLER = set(
    """
    SellerService.GetSeller SellerService.SetCalendar SellerService.AddTimeOff SellerService.RemoveTimeOff
    SellerService.GetAvailability AssignmentService.ClaimNext AssignmentService.ListOffers SequenceService.ListSteps
    EventService.Subscribe EventService.ListNotifications EventService.Acknowledge
    """.split()
)
OFFERS = {"AssignmentService.RespondToOffer", "AssignmentService.ExtendClaim"}
OWN_RECORD = STEPS | {
    *("RecordService.GetRecord", "RecordService.ListDecisions", "InsightService.ExplainRecord", "SequenceService.ListEnrollments")
}
GRANTS = {role: (f"{OWN}:{role}",) for role in ("viewer", "integrator", "admin")} | {"operator": ("*:operator",)}


async def everything(channel: grpc.aio.Channel, token: str, **fields: Any) -> dict[str, Answer]:
    """Make every call with one token, one after the other, and return how each ended."""
    return {name: await call(channel, method, token, request_for(method, **fields)) for name, method in METHODS.items()}


async def test_roles(walls: Fortress) -> None:
    async with walls.channel(walls.authority) as channel:
        for role, grants in GRANTS.items():
            token, allowed = signed("caller", *grants), ALLOWED[role]
            for workspace in (OWN, OTHER, MISSING):
                found = await everything(channel, token, workspace=workspace)
                expected = (allowed if workspace == OWN or role == "operator" else set()) | OPEN | ANYBODY
                assert {name for name, answer in found.items() if answer.passed} == expected, (role, workspace)
                refused = {answer.code for name, answer in found.items() if name not in expected}
                assert refused == {"PERMISSION_DENIED"}
                assert "INTERNAL" not in {answer.code for answer in found.values()}
                if workspace == OTHER:
                    elsewhere = found
            assert {n: elsewhere[n] for n in METHODS if n not in SERVER} == {n: found[n] for n in METHODS if n not in SERVER}


BAD_TOKENS = {
    "none": "",
    "garbage": "x.y.z",
    "static": "reallot_nobody_has_this_token",
    "expired": signed("caller", f"{OWN}:admin", exp=1),
    "of another audience": signed("caller", f"{OWN}:admin", aud="elsewhere"),
    "of another issuer": signed("caller", f"{OWN}:admin", iss="https://elsewhere.example.com"),
    "of another key": signed("caller", f"{OWN}:admin", key=BAD_KEY),
    "unsigned": signed("caller", f"{OWN}:admin", key=None, algorithm="none"),
    "without expiry": signed("caller", f"{OWN}:admin", exp=None),
    "without audience": signed("caller", f"{OWN}:admin", aud=None),
    "without subject": signed("caller", f"{OWN}:admin", sub=None),
    "with a grant that is none": signed("caller", f"{OWN}:admin", f"{OWN}:emperor"),
}


def as_if_shared(token: str, secret: bytes) -> str:
    """Return a token whose signature was made with a secret, as servers take that let the token choose how it is verified."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "first"}).encode()).rstrip(b"=")
    content = head + b"." + token.split(".")[1].encode()
    return (content + b"." + base64.urlsafe_b64encode(hmac.digest(secret, content, "sha256")).rstrip(b"=")).decode()


async def test_tokens_and_certificates(walls: Fortress) -> None:
    public = GOOD_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = {"signed with the public key": as_if_shared(signed("caller", f"{OWN}:admin"), public)}
    async with walls.channel(walls.authority) as channel:
        for kind, token in (BAD_TOKENS | forged).items():
            found = await everything(channel, token, workspace=OWN)
            assert {name: answer for name, answer in found.items() if answer.passed and name not in OPEN} == {}, kind
            reasons = {(a.code, a.refusal.reason) for a in found.values() if not a.passed and a.refusal is not None}
            reason = {"none": "CREDENTIALS_MISSING", "expired": "TOKEN_EXPIRED"}.get(kind, "CREDENTIALS_INVALID")
            assert reasons == {("UNAUTHENTICATED", reason)}, kind
        two = (("authorization", f"Bearer {signed('a', f'{OWN}:admin')}"), ("authorization", "Bearer other"))
        with pytest.raises(grpc.aio.AioRpcError, match="not accepted"):
            await channel.unary_unary("/reallot.v1.ConfigService/Export")(b"", metadata=two)
    good = signed("caller", f"{OWN}:admin", f"{OWN}:integrator")
    for issuer in (None, walls.stranger):
        async with walls.channel(issuer) as channel:
            found = await everything(channel, good, workspace=OWN)
            assert {answer.code for answer in found.values()} == {"UNAVAILABLE"}


async def test_sellers_reach_what_is_theirs_and_cannot_tell_the_rest_from_nothing(walls: Fortress) -> None:
    async with walls.channel(walls.authority) as channel:
        await populate(walls, signed("boss", f"{OWN}:admin", f"{OWN}:integrator"))
        token = signed("ann", f"{OWN}:seller:ann")
        for other in (OTHER, MISSING):
            found = await everything(channel, token, workspace=other, seller_id="ann", seller_ids="ann", record_id="of-ann")
            assert {name for name, answer in found.items() if answer.passed} == OPEN | ANYBODY
        theirs = await everything(channel, token, workspace=OWN, seller_id="ann", seller_ids="ann", record_id="of-ann")
        expected = OWN_SELLER | OWN_RECORD | OFFERS | {"RecordService.ListRecords"} | OPEN | ANYBODY
        assert {name for name, answer in theirs.items() if answer.passed} == expected
        assert "NOT_FOUND" not in {theirs[name].code for name in OWN_RECORD}
        there, nowhere = [
            await everything(channel, token, workspace=OWN, seller_id=seller, seller_ids=seller, record_id=record)
            for seller, record in (("bob", "of-bob"), ("nob", "of-nob"))
        ]
        for name in OWN_SELLER:
            assert there[name] == nowhere[name]
            assert there[name].code == "PERMISSION_DENIED"
        for name in OWN_RECORD:
            assert repr(there[name]).replace("of-bob", "of-nob") == repr(nowhere[name])
            # What is malformed is told before anything is looked up: the same for what exists and what does not.
            assert there[name].code in ("NOT_FOUND", "INVALID_ARGUMENT")
        own, other, none = [
            await everything(channel, token, workspace=OWN, seller_id="ann", record_id=record) for record in ("of-ann", "of-bob", "of-nob")
        ]
        for name in OFFERS:
            assert repr(other[name]).replace("of-bob", "of-nob") == repr(none[name]), "an offer to somebody else shows nothing either"
            assert (own[name].code, other[name].code) == ("FAILED_PRECONDITION", "NOT_FOUND")


async def populate(walls: Fortress, token: str) -> None:
    """Two sellers, each with a record."""
    async with AsyncClient(walls.address, workspace=OWN, security=walls.security(token)) as client:
        fields = [{"field_id": "revenue", "type": "FIELD_TYPE_DECIMAL"}]
        resources, _ = parse_bundle({"record_types": [{"record_type": "lead", "fields": fields}]})
        await client.config.apply(resources)
        await client.sellers.upsert([Seller("ann"), Seller("bob")])
        await client.records.upsert([Record(f"of-{name}", "lead", {"revenue": 1.0}, owner=name) for name in ("ann", "bob")])


async def test_lists_of_sellers_hold_only_what_they_own(walls: Fortress) -> None:
    await populate(walls, signed("boss", f"{OWN}:admin", f"{OWN}:integrator"))
    security = walls.security(lambda: signed("ann", f"{OWN}:seller:ann"))
    async with AsyncClient(walls.address, workspace=OWN, security=security) as client:
        assert [record.record_id for record in await client.records.list()] == ["of-ann"]
        stream = client.events.subscribe("ann", snapshot=True)
        assert (await asyncio.wait_for(anext(stream), 20)).record_id == "of-ann"
        await stream.aclose()  # type: ignore[attr-defined]
