"""The one table of who may call what. A call that is not in it is refused; a test compares it with the contract.

Sellers are held to what is their own (see `own`); whoever has one of the other roles of a row is not.
"""

from dataclasses import dataclass
from enum import Enum, auto

from reallot.server.access.own import Own, OwnList, OwnOffer, OwnRecord, OwnSeller
from reallot.server.access.principals import Role


class Where(Enum):
    """Where somebody must have a role."""

    WORKSPACE = auto()
    """In the workspace that the request names."""
    ANYWHERE = auto()
    """In any workspace: the call is about none."""
    SERVER = auto()
    """In all of them."""
    OPEN = auto()
    """Nowhere: anybody may call."""


@dataclass(frozen=True)
class Rule:
    """Who may make a call.

    Attributes:
        roles: One of them is needed.
        own: What sellers are held to; None = the call is not for sellers.
        acts: Whether it is a change of the configuration or an act by hand, which the audit log keeps.
        where: Where the role is needed.
    """

    roles: frozenset[Role]
    own: Own | None = None
    acts: bool = False
    where: Where = Where.WORKSPACE


def _may(*roles: Role, own: Own | None = None, acts: bool = False, where: Where = Where.WORKSPACE) -> Rule:
    return Rule(frozenset(roles), own, acts, where)


VIEWER, INTEGRATOR, ADMIN, OPERATOR = Role.VIEWER, Role.INTEGRATOR, Role.ADMIN, Role.OPERATOR
READERS = (VIEWER, INTEGRATOR, ADMIN)
WORKERS = (INTEGRATOR, ADMIN)
ONESELF, ONESELVES, OWN_RECORD = OwnSeller("seller_id"), OwnSeller("seller_ids"), OwnRecord()
SHOWN_RECORD, OWN_OFFER = OwnRecord(offered=True), OwnOffer("seller_id")
PUBLIC, OPERATORS = _may(where=Where.OPEN), _may(OPERATOR, where=Where.SERVER)

_RECORDS = {
    "UpsertRecords": _may(INTEGRATOR),
    "ImportRecords": _may(INTEGRATOR),
    "GetRecord": _may(*READERS, own=SHOWN_RECORD),
    "ListRecords": _may(*READERS, own=OwnList()),
    "DeleteRecords": _may(INTEGRATOR, acts=True),
    "ListDecisions": _may(*READERS, own=SHOWN_RECORD),
}
_SELLERS = {
    "UpsertSellers": _may(*WORKERS, acts=True),
    "RetireSeller": _may(*WORKERS, acts=True),
    "GetSeller": _may(*READERS, own=ONESELF),
    "ListSellers": _may(*READERS),
    "ReturnSellers": _may(*WORKERS, acts=True),
    "DeleteSellers": _may(*WORKERS, acts=True),
    "SetCalendar": _may(*WORKERS, own=ONESELVES, acts=True),
    "AddTimeOff": _may(*WORKERS, own=ONESELVES, acts=True),
    "RemoveTimeOff": _may(*WORKERS, own=ONESELF, acts=True),
    "GetAvailability": _may(*READERS, own=ONESELF),
    "ListCapacity": _may(*READERS),
}
_CONFIG = {
    "Apply": _may(ADMIN, acts=True),
    "GetConfig": _may(*READERS),
    "ListConfig": _may(*READERS),
    "DeleteConfig": _may(ADMIN, acts=True),
    "Export": _may(*READERS),
    "ListChanges": _may(VIEWER, ADMIN),
    "ListAudit": _may(ADMIN),
    "CheckCondition": _may(*READERS),
    "SimulateSegment": _may(*READERS),
    "PreviewSchedule": _may(*READERS),
}
_ASSIGNMENT = {
    "StartRun": _may(*WORKERS, acts=True),
    "GetRun": _may(*READERS),
    "ListRuns": _may(*READERS),
    "WatchRun": _may(*READERS),
    "CancelRun": _may(*WORKERS, acts=True),
    "ApplyRun": _may(*WORKERS, acts=True),
    "DropRun": _may(*WORKERS, acts=True),
    "ListPreview": _may(*READERS),
    "ReplayRun": _may(*READERS),
    "UndoRun": _may(*WORKERS, acts=True),
    "AssignRecords": _may(*WORKERS, acts=True),
    "ReleaseRecords": _may(*WORKERS, acts=True),
    "ListEligibleSellers": _may(*READERS),
    "ListOffers": _may(*READERS, own=ONESELF),
    "RespondToOffer": _may(INTEGRATOR, own=OWN_OFFER, acts=True),
    "ClaimNext": _may(INTEGRATOR, own=ONESELF, acts=True),
    "ExtendClaim": _may(INTEGRATOR, own=OWN_OFFER, acts=True),
}
_INSIGHT = {
    # Why, but not who else: sellers are counted, not named, and nothing that names others is planned.
    "ExplainRecord": _may(*READERS, own=OwnRecord(offered=True, sellers_per_verdict=0, prove=False, other_seller_id="")),
    "ExplainSeller": _may(*READERS),
    "WhatIf": _may(*READERS),
    "GetWorth": _may(*READERS),
    "GetFrontier": _may(*READERS),
    "Compare": _may(*READERS),
    "GetReport": _may(*READERS),
    "GetStatus": _may(*READERS, OPERATOR),
}
_SOLVER = {
    "Solve": _may(*WORKERS),
    "CheckPlan": _may(*WORKERS),
}
_SEQUENCES = {
    "ListSteps": _may(*READERS, own=ONESELF),
    "CompleteStep": _may(INTEGRATOR, own=OWN_RECORD, acts=True),
    "SkipStep": _may(INTEGRATOR, own=OWN_RECORD, acts=True),
    "SnoozeStep": _may(INTEGRATOR, own=OWN_RECORD, acts=True),
    "Connect": _may(*WORKERS, acts=True),
    "Disconnect": _may(*WORKERS, acts=True),
    "ListEnrollments": _may(*READERS, own=OWN_RECORD),
    "GetStatistics": _may(*READERS),
}
_EVENTS = {
    "Watch": _may(*READERS),
    "ListEvents": _may(*READERS),
    "Subscribe": _may(*WORKERS, own=ONESELF),
    "ListNotifications": _may(*WORKERS, own=ONESELF),
    "Acknowledge": _may(INTEGRATOR, own=ONESELF),
}
_WORKSPACES = {
    "CreateWorkspace": _may(OPERATOR, where=Where.SERVER, acts=True),
    "ListWorkspaces": OPERATORS,
    "RenameWorkspace": _may(OPERATOR, where=Where.SERVER, acts=True),
    "ExportWorkspace": OPERATORS,
    "RestoreWorkspace": _may(OPERATOR, where=Where.SERVER, acts=True),
    "DeleteWorkspace": _may(OPERATOR, where=Where.SERVER, acts=True),
    "ExportPersonalData": _may(ADMIN),
    "RedactPersonalData": _may(ADMIN, acts=True),
}
_REFLECTED = _may(*Role, where=Where.ANYWHERE)

TABLE: dict[str, dict[str, Rule]] = {
    "reallot.v1.RecordService": _RECORDS,
    "reallot.v1.SellerService": _SELLERS,
    "reallot.v1.ConfigService": _CONFIG,
    "reallot.v1.AssignmentService": _ASSIGNMENT,
    "reallot.v1.InsightService": _INSIGHT,
    "reallot.v1.SolverService": _SOLVER,
    "reallot.v1.SequenceService": _SEQUENCES,
    "reallot.v1.EventService": _EVENTS,
    "reallot.v1.WorkspaceService": _WORKSPACES,
    "reallot.testing.v1.ClockService": {"Get": OPERATORS, "Set": OPERATORS, "Advance": OPERATORS},
    # Whoever watches over the server, such as an orchestrator, has no token.
    "grpc.health.v1.Health": {"Check": PUBLIC, "Watch": PUBLIC},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": _REFLECTED},
    "grpc.channelz.v1.Channelz": {
        "GetTopChannels": OPERATORS,
        "GetServers": OPERATORS,
        "GetServer": OPERATORS,
        "GetServerSockets": OPERATORS,
        "GetChannel": OPERATORS,
        "GetSubchannel": OPERATORS,
        "GetSocket": OPERATORS,
    },
}
RULES = {f"/{service}/{method}": rule for service, methods in TABLE.items() for method, rule in methods.items()}
