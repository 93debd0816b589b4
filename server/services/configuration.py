"""ConfigService: one path validates, compares, stores, keeps history and exports every kind of configuration."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from reallot.server.auditing import list_audit
from reallot.server.config_removal import readers_out_of_use, without
from reallot.server.config_usage import note_changed_meanings, still_used, stored_users
from reallot.server.configuration import recurrence_faults, referrers, validate, value_faults
from reallot.server.convert.values import from_us, instant_fault, to_us
from reallot.server.errors import ApiError, Violation, internal_error, invalid_field
from reallot.server.firings import local_text, preview
from reallot.server.idempotency import once
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.schedules import recurrence_of, state_of
from reallot.server.simulation import simulate_segment
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import page_size_of, refuse, workspace_of
from reallot.server.workspace_config import ID_FIELDS, KINDS, SETTINGS_ID, WorkspaceConfig, from_body, messages_of, resource_id, to_body
from reallot.solver.segmentation import ConditionError, compile_condition
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import ConfigRow, Json
from reallot.v1 import config_pb2, config_service_pb2, config_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
MOST_RESOURCES = 5_000
_ACTIONS = config_service_pb2.ChangeAction
_DECIDES = frozenset({"settings", "record_type", "segment", "team", "queue"})
"""Kinds whose change may find an owner for a record that has none."""
_GROUP_PURPOSES: Mapping[int, str] = {
    config_service_pb2.CONDITION_PURPOSE_TEAM: "team",
    config_service_pb2.CONDITION_PURPOSE_QUEUE: "queue",
}


def kind_name(kind: int) -> str:
    """Return the stored name of a kind; "" for all kinds.

    Raises:
        ApiError: there is no such kind.
    """
    if kind not in config_pb2.ConfigKind.values():
        raise invalid_field("kind", f"{kind} is no kind of configuration")
    name = config_pb2.ConfigKind.Name(kind).removeprefix("CONFIG_KIND_").lower()  # type: ignore[arg-type]
    return "" if name == "unspecified" else name


def kind_number(kind: str) -> config_pb2.ConfigKind.ValueType:
    """Return the kind of a stored name."""
    return config_pb2.ConfigKind.Value(f"CONFIG_KIND_{kind.upper()}")


def _key(request: config_service_pb2.GetConfigRequest | config_service_pb2.DeleteConfigRequest) -> tuple[str, str]:
    """Return the kind and id that a request is about.

    Raises:
        ApiError: it does not say the kind.
    """
    kind = kind_name(request.kind)
    if not kind:
        raise invalid_field("kind", "a kind is needed")
    return kind, request.id


def _no_resource(kind: str, name: str) -> ApiError:
    return ApiError(grpc.StatusCode.NOT_FOUND, "CONFIG_NOT_FOUND", f"{kind} {name!r} does not exist", metadata={kind: name})


@dataclass(frozen=True)
class _Prepared:
    """A bundle compiled and compared against one version of the configuration, or the reason why it is refused."""

    version: int
    candidate: WorkspaceConfig | None = None
    changes: Sequence[config_service_pb2.ResourceChange] = ()
    deleted: Sequence[tuple[str, str]] = ()
    refusal: ApiError | None = None


class ConfigService(config_service_pb2_grpc.ConfigServiceServicer):
    """Keeps the configuration."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def Apply(  # noqa: N802
        self, request: config_service_pb2.ApplyRequest, context: Context
    ) -> config_service_pb2.ApplyResponse:
        """Store a bundle; all or nothing."""
        workspace = workspace_of(request)
        if len(request.resources) > MOST_RESOURCES:
            raise invalid_field("resources", f"at most {MOST_RESOURCES} resources fit into one request", "BATCH_TOO_LARGE")

        # Conditions are compiled on a snapshot in a reader's thread: the writer serves everybody else.
        prepared = await self._runtime.read(lambda tx: self._prepare(tx, workspace, request))

        def work(tx: WriteTransaction) -> config_service_pb2.ApplyResponse:
            ready = prepared if prepared.version == tx.config.version(workspace) else self._prepare(tx, workspace, request)
            return self._apply(tx, request, ready)

        answer = await self._runtime.write(workspace, once(request, workspace, config_service_pb2.ApplyResponse, work))
        # What was stored is compiled here, not by the next write.
        await self._runtime.config(workspace)
        return answer

    def _prepare(self, tx: ReadTransaction, workspace: str, request: config_service_pb2.ApplyRequest) -> "_Prepared":
        """Return the configuration that would result, or why it is refused; raises nothing, so that a repeat gets its answer."""
        stored = self._runtime.configs.of(tx, workspace)
        try:
            given = _given(request, self._runtime.clock.now_us(), stored)
            deleted = _pruned(stored, given) if request.prune else []
            wanted = {key: r for key, r in stored.resources.items() if key not in deleted} | given
            paths = {resource_id(r): f"resources[{i}].{resource_id(r)[0]}" for i, r in enumerate(request.resources)}
            candidate = WorkspaceConfig(workspace, 0, wanted, paths)
            validate(candidate)
            retired = readers_out_of_use(candidate, given) if request.force else {}
            if retired:
                candidate = WorkspaceConfig(workspace, 0, wanted | retired, paths)
                validate(candidate)
            if not candidate.violations:
                note_changed_meanings(tx, stored, candidate)
            refuse(sorted(candidate.violations, key=_place))
            self._check_size(stored, candidate)
        except ApiError as error:
            return _Prepared(stored.version, refusal=error)
        return _Prepared(stored.version, candidate, [_change(stored, key, r) for key, r in (given | retired).items()], deleted)

    def _check_size(self, stored: WorkspaceConfig, candidate: WorkspaceConfig) -> None:
        """Do nothing unless a configuration grows beyond what the server allows; one that is larger already may shrink."""
        most = self._runtime.settings.most_segments
        before, after = (sum(kind == "segment" for kind, _ in config.resources) for config in (stored, candidate))
        if after > max(most, before):
            text = f"the workspace would have {after} segments, at most {most} are allowed"
            violation = Violation("resources", text, "LIMIT_EXCEEDED")
            code = grpc.StatusCode.INVALID_ARGUMENT
            raise ApiError(code, "LIMIT_EXCEEDED", text, metadata={"limit": "most_segments"}, violations=[violation])

    def _apply(
        self, tx: WriteTransaction, request: config_service_pb2.ApplyRequest, prepared: "_Prepared"
    ) -> config_service_pb2.ApplyResponse:
        candidate = prepared.candidate
        if candidate is None:
            raise prepared.refusal or internal_error()
        for key in prepared.deleted:
            if users := stored_users(tx, candidate.workspace, *key):
                raise still_used(*key, users)
        changed = [(kind_name(c.kind), c.id) for c in prepared.changes if c.action != _ACTIONS.CHANGE_ACTION_UNCHANGED]
        gone = [
            config_service_pb2.ResourceChange(kind=kind_number(kind), id=name, action=_ACTIONS.CHANGE_ACTION_DELETED)
            for kind, name in prepared.deleted
        ]
        version = prepared.version
        if not request.validate_only and (changed or gone):
            puts = [ConfigRow(kind, name, to_body(candidate.resources[kind, name]), 0, 0, 0) for kind, name in changed]
            version = self._store(tx, candidate, puts, prepared.deleted, tx.audit.signer or request.actor)
        return config_service_pb2.ApplyResponse(changes=[*prepared.changes, *gone], config_version=version)

    def _store(
        self, tx: WriteTransaction, config: WorkspaceConfig, puts: Sequence[ConfigRow], deletes: Sequence[tuple[str, str]], actor: str
    ) -> int:
        workspace = config.workspace
        version = tx.config.apply(workspace, sorted(puts, key=lambda p: (p.kind, p.id)), deletes, actor=actor, time_us=tx.now_us)
        states = tx.schedules.all(workspace)
        for put in puts:
            if put.kind == "schedule":
                tx.schedules.put(workspace, state_of(config.find("schedule", put.id), states.get(put.id), tx.now_us))
        for kind, name in deletes:
            if kind == "schedule":
                tx.schedules.delete(workspace, name)
        touched = {put.kind for put in puts} | {kind for kind, _ in deletes}
        if "segment" in touched:
            tx.shares.keep(workspace, {key for key in config.sharing_rules if ("segment", key.partition("/")[0]) not in deletes})
        if "settings" in touched:
            tx.quiet.switch(workspace, on=config.settings.quiet_hours and ("settings", SETTINGS_ID) not in deletes)
        if touched & _DECIDES and tx.records.page(workspace, RecordFilter(owned=False, active=True), limit=1):
            request_rerun(tx, config, "CONFIGURATION_CHANGED", None)
        tx.signal(workspace, "config")
        return version

    async def GetConfig(  # noqa: N802
        self, request: config_service_pb2.GetConfigRequest, context: Context
    ) -> config_pb2.ConfigResource:
        """Return one resource."""
        workspace, key = workspace_of(request), _key(request)

        def read(tx: ReadTransaction) -> config_pb2.ConfigResource:
            found = self._shown(tx, workspace).get(key)
            if found is None:
                raise _no_resource(*key)
            return found

        return await self._runtime.read(read)

    async def ListConfig(  # noqa: N802
        self, request: config_service_pb2.ListConfigRequest, context: Context
    ) -> config_service_pb2.ListConfigResponse:
        """List resources by kind and id."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)
        kind = kind_name(request.kind)

        def read(tx: ReadTransaction) -> config_service_pb2.ListConfigResponse:
            found = [(key, r) for key, r in sorted(self._shown(tx, workspace).items()) if not kind or key[0] == kind]
            found = [(key, r) for key, r in found if after is None or key > tuple(after)]
            token = page_token(request, found[size - 1][0]) if len(found) > size else ""
            return config_service_pb2.ListConfigResponse(resources=[r for _, r in found[:size]], next_page_token=token)

        return await self._runtime.read(read)

    async def DeleteConfig(  # noqa: N802
        self, request: config_service_pb2.DeleteConfigRequest, context: Context
    ) -> config_service_pb2.DeleteConfigResponse:
        """Delete one resource that nothing refers to."""
        workspace, key = workspace_of(request), _key(request)
        if key[0] == "settings":
            raise invalid_field("kind", "settings cannot be deleted, only applied anew")

        def work(tx: WriteTransaction) -> config_service_pb2.DeleteConfigResponse:
            config = self._runtime.configs.of(tx, workspace)
            if key not in config.resources:
                raise _no_resource(*key)
            if users := [*referrers(config, *key), *stored_users(tx, workspace, *key)]:
                raise still_used(*key, users)
            return self._delete(tx, config, request, key)

        return await self._runtime.write(workspace, once(request, workspace, config_service_pb2.DeleteConfigResponse, work))

    def _delete(
        self, tx: WriteTransaction, config: WorkspaceConfig, request: config_service_pb2.DeleteConfigRequest, key: tuple[str, str]
    ) -> config_service_pb2.DeleteConfigResponse:
        kind, name = key
        with_it = without(config, kind, name)
        changes = [_change(config, other, resource) for other, resource in with_it.items()]
        changes.append(config_service_pb2.ResourceChange(kind=kind_number(kind), id=name, action=_ACTIONS.CHANGE_ACTION_DELETED))
        inside = RecordFilter(segment_ids=[name], active=True)
        left = tx.records.count(config.workspace, inside) if kind == "segment" else 0
        version = config.version
        if not request.validate_only:
            puts = [ConfigRow(*other, to_body(resource), 0, 0, 0) for other, resource in with_it.items()]
            version = self._store(tx, config, puts, [key], tx.audit.signer or request.actor)
        return config_service_pb2.DeleteConfigResponse(config_version=version, changes=changes, records_left=left)

    async def Export(  # noqa: N802
        self, request: config_service_pb2.ExportRequest, context: Context
    ) -> config_service_pb2.ExportResponse:
        """Return the whole configuration in the order in which it can be applied."""
        workspace = workspace_of(request)

        def read(tx: ReadTransaction) -> config_service_pb2.ExportResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = sorted(config.resources.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1]))
            return config_service_pb2.ExportResponse(resources=[_written(r) for _, r in found], config_version=config.version)

        return await self._runtime.read(read)

    async def ListChanges(  # noqa: N802
        self, request: config_service_pb2.ListChangesRequest, context: Context
    ) -> config_service_pb2.ListChangesResponse:
        """List the history, newest first."""
        workspace, size, before = workspace_of(request), page_size_of(request), read_page_token(request)

        def read(tx: ReadTransaction) -> config_service_pb2.ListChangesResponse:
            found = tx.config.changes(workspace, kind_name(request.kind) or None, request.id or None, before, size + 1)
            rows = [
                config_service_pb2.ConfigChange(
                    change_id=c.change_id,
                    time=from_us(c.time_us),
                    actor=c.actor,
                    kind=kind_number(c.kind),
                    id=c.id,
                    before=from_body(c.kind, c.before) if c.before is not None else None,
                    after=from_body(c.kind, c.after) if c.after is not None else None,
                )
                for c in found[:size]
            ]
            token = page_token(request, found[size - 1].change_id) if len(found) > size else ""
            return config_service_pb2.ListChangesResponse(changes=rows, next_page_token=token)

        return await self._runtime.read(read)

    async def ListAudit(  # noqa: N802
        self, request: config_service_pb2.ListAuditRequest, context: Context
    ) -> config_service_pb2.ListAuditResponse:
        """List the audit log, in order."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)
        return await self._runtime.read(lambda tx: list_audit(tx, workspace, request, after or 0, size))

    async def CheckCondition(  # noqa: N802
        self, request: config_service_pb2.CheckConditionRequest, context: Context
    ) -> config_service_pb2.CheckConditionResponse:
        """Check a condition without storing anything."""
        config = await self._runtime.config(workspace_of(request))
        kind = config.record_types.get(request.record_type)
        if kind is None:
            raise invalid_field("record_type", f"record type {request.record_type!r} does not exist", "UNKNOWN_RECORD_TYPE")
        roots = config.roots_of(request.record_type)
        if request.purpose == config_service_pb2.CONDITION_PURPOSE_SELLER:
            roots = {"record": kind.schema, "seller": config.seller_schema}
        elif request.purpose in _GROUP_PURPOSES:
            group = _GROUP_PURPOSES[request.purpose]
            roots = {"record": kind.schema, group: config.group_schemas[group]}
        try:
            condition = compile_condition(request.condition, roots)
        except ConditionError as error:
            return config_service_pb2.CheckConditionResponse(error=error.message, line=error.line, column=error.column)
        return config_service_pb2.CheckConditionResponse(valid=True, reads=sorted(".".join(r) for r in condition.reads))

    async def SimulateSegment(  # noqa: N802
        self, request: config_service_pb2.SimulateSegmentRequest, context: Context
    ) -> config_service_pb2.SimulateSegmentResponse:
        """Count the stored records that a segment would take."""
        workspace = workspace_of(request)

        def read(tx: ReadTransaction) -> config_service_pb2.SimulateSegmentResponse:
            return simulate_segment(tx, self._runtime.configs.of(tx, workspace), request, self._runtime.clock.now_us())

        return await self._runtime.read(read)

    async def PreviewSchedule(  # noqa: N802
        self, request: config_service_pb2.PreviewScheduleRequest, context: Context
    ) -> config_service_pb2.PreviewScheduleResponse:
        """Show the next firings of a schedule."""
        workspace_of(request)
        now_us = self._runtime.clock.now_us()
        count = request.count or 10
        if not 1 <= count <= 100:
            raise invalid_field("count", f"{count} is not between 1 and 100")
        refuse([Violation(f"schedule.{path}", text) for path, text in value_faults(request.schedule)])
        refuse([Violation("start_time", text) for text in [instant_fault(request.start_time)] if text])
        schedule = _anchored(request.schedule, now_us)
        refuse([Violation(f"schedule.{path}", text, "INVALID_SCHEDULE") for path, text in recurrence_faults(schedule)])
        recurrence = recurrence_of(schedule)
        found = preview(recurrence, to_us(request.start_time) if request.HasField("start_time") else now_us, count)
        return config_service_pb2.PreviewScheduleResponse(
            firings=[from_us(f) for f in found], local_firings=[local_text(recurrence, f) for f in found]
        )

    def _shown(self, tx: ReadTransaction, workspace: str) -> dict[tuple[str, str], config_pb2.ConfigResource]:
        """Return the stored resources, schedules with when they fire."""
        found = dict(self._runtime.configs.of(tx, workspace).resources)
        for name, state in tx.schedules.all(workspace).items():
            if ("schedule", name) in found:
                shown = config_pb2.ConfigResource()
                shown.CopyFrom(found["schedule", name])
                for field, instant in (("next_time", state.next_us), ("last_time", state.last_us)):
                    if instant is not None:
                        getattr(shown.schedule, field).CopyFrom(from_us(instant))
                found["schedule", name] = shown
        return found


def _given(
    request: config_service_pb2.ApplyRequest, now_us: int, stored: WorkspaceConfig
) -> dict[tuple[str, str], config_pb2.ConfigResource]:
    """Return the bundle by kind and id, without what only the server writes."""
    faults, seen = [], set()
    for index, resource in enumerate(request.resources):
        kind, name = resource_id(resource)
        if not kind:
            faults.append(Violation(f"resources[{index}]", "the resource is empty"))
        elif not name:
            faults.append(Violation(f"resources[{index}].{kind}.{ID_FIELDS[kind]}", "an id is needed", "INVALID_ID"))
        elif (kind, name) in seen:
            faults.append(Violation(f"resources[{index}].{kind}", f"{kind} {name!r} comes twice"))
        seen.add((kind, name))
    refuse(faults)
    for resource in request.resources:
        kind, name = resource_id(resource)
        if resource.etag and resource.etag != str(stored.revision(kind, name)):
            text = f"{kind} {name!r} was changed since it was read"
            raise ApiError(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", text, metadata={kind: name})
    given = {}
    for key, resource in messages_of(request.resources).items():
        clean = _written(resource)
        if key[0] == "schedule":
            old = stored.find("schedule", key[1])
            clean.schedule.CopyFrom(_anchored(clean.schedule, now_us, old))
        given[key] = clean
    return given


def _written(resource: config_pb2.ConfigResource) -> config_pb2.ConfigResource:
    """Return a resource without what only the server writes, so that it can be applied again."""
    clean = config_pb2.ConfigResource()
    clean.CopyFrom(resource)
    for name in ("etag", "create_time", "update_time"):
        clean.ClearField(name)
    return clean


def _place(violation: Violation) -> int:
    """Return the position in the bundle of the resource that a violation is about; those outside it come first."""
    found = re.match(r"resources\[(\d+)\]", violation.field)
    return int(found[1]) if found else -1


def _anchored(schedule: config_pb2.Schedule, now_us: int, stored: config_pb2.Schedule | None = None) -> config_pb2.Schedule:
    """Return a schedule without what only the server writes; a distance without an anchor counts from when it was saved first."""
    copy = config_pb2.Schedule()
    copy.CopyFrom(schedule)
    copy.ClearField("next_time")
    copy.ClearField("last_time")
    if copy.WhichOneof("recurrence") == "every" and not copy.every.HasField("anchor"):
        kept = stored is not None and stored.WhichOneof("recurrence") == "every" and stored.every.duration == copy.every.duration
        copy.every.anchor.CopyFrom(stored.every.anchor if kept and stored else from_us(now_us))
    return copy


def _pruned(stored: WorkspaceConfig, given: Mapping[tuple[str, str], Any]) -> list[tuple[str, str]]:
    kinds = {kind for kind, _ in given} - {"settings"}
    return sorted(key for key in stored.resources if key[0] in kinds and key not in given and key[1] != SETTINGS_ID)


def _change(stored: WorkspaceConfig, key: tuple[str, str], resource: config_pb2.ConfigResource) -> config_service_pb2.ResourceChange:
    old = stored.resources.get(key)
    before, after = (to_body(old) if old is not None else {}), to_body(resource)
    differences = list(_differences("", before, after))
    action = (
        _ACTIONS.CHANGE_ACTION_CREATED
        if old is None
        else _ACTIONS.CHANGE_ACTION_UPDATED
        if differences
        else _ACTIONS.CHANGE_ACTION_UNCHANGED
    )
    return config_service_pb2.ResourceChange(kind=kind_number(key[0]), id=key[1], action=action, differences=differences)


def _differences(path: str, before: Json, after: Json) -> list[config_service_pb2.FieldDifference]:
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [d for n in names for d in _differences(f"{path}.{n}" if path else n, before.get(n), after.get(n))]
    if isinstance(before, list) and isinstance(after, list):
        longest = range(max(len(before), len(after)))
        pairs = [(before[i] if i < len(before) else None, after[i] if i < len(after) else None) for i in longest]
        return [d for i, (b, a) in enumerate(pairs) for d in _differences(f"{path}[{i}]", b, a)]
    texts = ["" if value is None else json.dumps(value, ensure_ascii=False) for value in (before, after)]
    return [config_service_pb2.FieldDifference(path=path, before=texts[0], after=texts[1])]
