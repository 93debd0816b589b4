"""The guard: nobody passes who has not proved who they are, and nobody does what the table of roles does not give them.

Whoever shows nothing, or what is not accepted, is refused before the request is read. A stream ends when what its caller has shown expires
or is withdrawn. A server without authentication lets everybody do everything; acts are noted all the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc

from reallot.server.access.acting import ACT, CALLER, Act, OwnedRecord
from reallot.server.access.authentication import Authenticator, expired, missing, unknown
from reallot.server.access.own import denied
from reallot.server.access.principals import EVERYWHERE, Principal, Role
from reallot.server.access.roles import RULES, Rule, Where
from reallot.server.errors import ApiError, invalid_field
from reallot.server.interceptors import Context, Handler, behaviour_of, replaced, send
from reallot.server.validation import DEFAULT_WORKSPACE
from reallot.storage.entities import Signature

_SCHEME = "bearer "
_SAID = ("actor", "reason", "cause")
"""What callers say of themselves, and of why."""


class Guard(grpc.aio.ServerInterceptor):
    """Stands before the handler of every call. Belongs to the event loop."""

    def __init__(self, authenticator: Authenticator | None, owns: Callable[[OwnedRecord], Awaitable[None]]) -> None:
        """Guard a server.

        Args:
            authenticator: Tells who calls; None = everybody may do everything.
            owns: Raises where somebody does not own a record.
        """
        self._authenticator = authenticator
        self._owns = owns
        self._behind: dict[Handler, Handler] = {}
        self._refusing: dict[str, Handler] = {}
        self._following: dict[asyncio.Timeout, Principal] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Put the guard before the handler of a call."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        rule = RULES.get(method)
        if handler is None or (rule is not None and rule.where is Where.OPEN):
            return handler
        if self._authenticator is None:
            return self._guarded(handler, method, rule) if rule is not None and rule.acts else handler
        try:
            CALLER.set(await self._shown(self._authenticator, handler_call_details.invocation_metadata))
        except ApiError as error:
            return self._refused(error)
        return self._guarded(handler, method, rule) if rule is not None else self._refused(denied(method))

    def recheck(self) -> None:
        """End the streams of those who are not who they were: principals were read anew."""
        loop = asyncio.get_running_loop()
        for timeout, principal in self._following.items():
            if self._authenticator is not None and not self._authenticator.stands(principal):
                timeout.reschedule(loop.time())

    async def _shown(self, authenticator: Authenticator, metadata: Any) -> Principal | None:
        """Return who shows a token; None for those who show none but may have a certificate."""
        shown = [value for name, value in metadata or () if name == "authorization"]
        if not shown:
            if authenticator.takes_certificates:
                return None
            raise missing()
        value = shown[0]
        if len(shown) > 1 or not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
            raise unknown()
        token = value[len(_SCHEME) :].strip()
        return authenticator.known(token) or await authenticator.of_token(token)

    def _refused(self, error: ApiError) -> Handler:
        """Return a handler that refuses without reading the request."""
        found = self._refusing.get(error.reason)
        if found is None:

            async def refuse(requests: Any, context: Context) -> None:
                raise error.with_traceback(None)

            found = self._refusing[error.reason] = grpc.stream_stream_rpc_method_handler(refuse)
        return found

    def _guarded(self, handler: Handler, method: str, rule: Rule) -> Handler:
        found = self._behind.get(handler)
        if found is None:
            found = self._behind[handler] = (self._streaming if handler.response_streaming else self._unary)(handler, method, rule)
        return found

    def _unary(self, handler: Handler, method: str, rule: Rule) -> Handler:
        inner, short = behaviour_of(handler), _short(method)

        async def call(request: Any, context: Context) -> Any:
            principal = self._caller(context)
            if handler.request_streaming:
                return await inner(self._each(short, rule, principal, request, context), context)
            await self._admit(short, rule, principal, request, context)
            return await inner(request, context)

        return replaced(handler, call)

    def _streaming(self, handler: Handler, method: str, rule: Rule) -> Handler:
        inner, short = behaviour_of(handler), _short(method)

        async def call(request: Any, context: Context) -> None:
            principal = self._caller(context)
            if handler.request_streaming:
                request = self._each(short, rule, principal, request, context)
            else:
                await self._admit(short, rule, principal, request, context)
            await self._followed(inner, request, context, principal)

        return replaced(handler, call)

    async def _followed(self, inner: Any, request: Any, context: Context, principal: Principal | None) -> None:
        """Serve a stream for as long as what its caller has shown is good."""
        if principal is None or self._authenticator is None:
            await send(inner(request, context), context)
            return
        try:
            async with asyncio.timeout(self._authenticator.left_s(principal)) as timeout:
                self._following[timeout] = principal
                try:
                    await send(inner(request, context), context)
                finally:
                    del self._following[timeout]
        except TimeoutError:
            if not timeout.expired():
                raise
            raise (expired() if self._authenticator.has_expired(principal) else unknown()) from None

    def _caller(self, context: Context) -> Principal | None:
        """Return who calls, by a token or else a certificate; None where nobody has to tell.

        Raises:
            ApiError: UNAUTHENTICATED.
        """
        if self._authenticator is None:
            return None
        found = CALLER.get()
        if found is None:
            found = self._authenticator.of_certificate(context.auth_context())
            CALLER.set(found)
        return found

    async def _admit(self, method: str, rule: Rule, principal: Principal | None, request: Any, context: Context) -> None:
        """Let a request through, narrowed to what is the caller's own where that is all that is allowed.

        Raises:
            ApiError: PERMISSION_DENIED, or what the caller would get if it did not exist.
        """
        owned = self._held(method, rule, principal, request) if principal is not None else None
        if rule.acts:
            # What must be so is looked at in the transaction: until then the record may become somebody else's.
            ACT.set(Act(_signature(method, principal, request, context), owned, getattr(request, "request_id", "")))
        elif owned is not None:
            await self._owns(owned)

    @staticmethod
    def _held(method: str, rule: Rule, principal: Principal, request: Any) -> OwnedRecord | None:
        if rule.where is Where.ANYWHERE:
            if not rule.roles & principal.roles_anywhere:
                raise denied(method)
            return None
        workspace = EVERYWHERE if rule.where is Where.SERVER else request.workspace or DEFAULT_WORKSPACE
        standing = principal.standing(workspace)
        if rule.roles & standing.roles:
            return None
        if rule.own is None or Role.SELLER not in standing.roles:
            raise denied(method)
        record_id = rule.own.hold(method, request, standing.sellers)
        return OwnedRecord(workspace, record_id, standing.sellers, rule.own.offered) if record_id is not None else None

    async def _each(
        self, method: str, rule: Rule, principal: Principal | None, requests: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Yield the messages of one call; all of them are about the workspace of the first."""
        first: Any = None
        async for request in requests:
            if first is None:
                await self._admit(method, rule, principal, request, context)
                first = request
            elif rule.where is Where.WORKSPACE and request.workspace not in ("", first.workspace):
                raise invalid_field("workspace", "all messages of a call are about one workspace")
            yield request


def _signature(method: str, principal: Principal | None, request: Any, context: Context) -> Signature:
    said = {name: getattr(request, name) for name in _SAID if name in request.DESCRIPTOR.fields_by_name}
    return Signature(
        principal.name if principal is not None else "",
        unquote(context.peer()),
        method,
        said.get("actor", ""),
        said.get("reason") or said.get("cause") or "",
    )


def _short(method: str) -> str:
    """Return the name of a method without its package, as the contract's readers know it."""
    service, _, name = method[1:].partition("/")
    return f"{service.rpartition('.')[2]}.{name}"
