"""The one place where exceptions of any RPC become statuses, and where every call is logged.

Services raise; they never touch the context's code or details.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from reallot.server.errors import ApiError, to_api_error, to_status
from reallot.server.languages import LANGUAGE, wanted_language
from reallot.server.meters import Meters
from reallot.server.validation import LONGEST_ID
from reallot.server.wellformed import check_values

log = structlog.get_logger("reallot.calls")

OK, CANCELLED = grpc.StatusCode.OK.name, grpc.StatusCode.CANCELLED.name
_IDS = ("workspace", "request_id", "run_id")
Handler = Any
Context = grpc.aio.ServicerContext[Any, Any]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Maps every exception of a handler to a `google.rpc.Status`; unforeseen ones are logged whole under an incident id."""

    def __init__(self, meters: Meters | None = None) -> None:
        """Count calls in `meters`; None = nowhere."""
        self._meters = meters or Meters()
        # By method, too: handlers that refuse are the same for many.
        self._wrapped: dict[tuple[str, Handler], Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of the call, whichever of the four kinds it is."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = str(handler_call_details.method)
        wrapped = self._wrapped.get((method, handler))
        if wrapped is None:
            wrapped = (_streaming if handler.response_streaming else _unary)(handler, method, self._meters)
            self._wrapped[method, handler] = wrapped
        return wrapped


def ids_of(message: Any) -> dict[str, str]:
    """Return what logs and traces may say of a request or answer: whose it is, and by which ids it is found again."""
    return {name: text[:LONGEST_ID] for name in _IDS if isinstance(text := getattr(message, name, ""), str) and text}


def passing(serializer: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a serializer that leaves alone what is serialized already: a stream may send the same bytes to many."""
    return lambda answer: answer if isinstance(answer, bytes) else serializer(answer)


def behaviour_of(handler: Handler) -> Any:
    """Return the function of a handler, whichever of the four kinds it is."""
    if handler.response_streaming:
        return handler.stream_stream if handler.request_streaming else handler.unary_stream
    return handler.stream_unary if handler.request_streaming else handler.unary_unary


class Malformed:
    """Stands for bytes that are no message of the call's."""


MALFORMED = Malformed()


def lenient(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Return a deserializer that gives MALFORMED where gRPC would answer with the text of an exception."""
    if deserializer is None:
        return None
    read = deserializer

    def deserialize(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError:
            return MALFORMED

    return deserialize


def _malformed() -> ApiError:
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE", "the bytes are no message of this call")


def _checked(request: Any) -> Any:
    """Return a request, or a stream of them, that is well-formed.

    Raises:
        ApiError: MALFORMED_MESSAGE, at once or where it comes in the stream; INVALID_ARGUMENT, a value cannot be what it says.
    """
    if request is MALFORMED:
        raise _malformed()
    if hasattr(request, "__aiter__"):
        return _each_checked(request)
    if isinstance(request, Message):
        check_values(request)
    return request


async def _each_checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if request is MALFORMED:
            raise _malformed()
        yield request


def replaced(handler: Handler, call: Callable[[Any, Context], Awaitable[Any]], serializer: Callable[[Any], bytes] | None = None) -> Handler:
    """Return a handler of the same kind that does `call` instead; one that streams writes its answers to the context."""
    if handler.response_streaming:
        make: Any = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    else:
        make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    made: Handler = make(call, lenient(handler.request_deserializer), serializer or handler.response_serializer)
    return made


async def send(answers: Any, context: Context) -> None:
    """Carry out what a streaming function has returned: it either writes to the context itself or yields its answers."""
    if isawaitable(answers):
        await answers
        return
    async for answer in answers:
        await context.write(answer)


def _unary(handler: Handler, method: str, meters: Meters) -> Handler:
    inner = behaviour_of(handler)

    async def call(request: Any, context: Context) -> Any:
        started, code = time.perf_counter(), CANCELLED
        LANGUAGE.set(wanted_language(context.invocation_metadata()))
        try:
            answer = await inner(_checked(request), context)
            code = OK
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            mapped = to_api_error(error)
            code = mapped.code.name
            await _refuse(context, method, request, error, mapped)
        finally:
            meters.call(method, code, time.perf_counter() - started)
        log.debug("call", method=method, milliseconds=round((time.perf_counter() - started) * 1e3, 2), **ids_of(request))
        return answer

    return replaced(handler, call)


def _streaming(handler: Handler, method: str, meters: Meters) -> Handler:
    inner = behaviour_of(handler)

    async def call(request: Any, context: Context) -> None:
        code = CANCELLED
        LANGUAGE.set(wanted_language(context.invocation_metadata()))
        try:
            await send(inner(_checked(request), context), context)
            code = OK
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            mapped = to_api_error(error)
            code = mapped.code.name
            await _refuse(context, method, request, error, mapped)
        finally:
            meters.call(method, code)

    return replaced(handler, call, passing(handler.response_serializer))


async def _refuse(context: Context, method: str, request: Any, error: Exception, mapped: ApiError) -> None:
    ids = ids_of(request)
    if mapped.reason == "INTERNAL":
        log.error("call failed", method=method, incident=mapped.metadata["incident"], **ids, exc_info=error)
    elif mapped.reason == "STORAGE_UNAVAILABLE":
        log.warning("storage unavailable", method=method, **ids, exc_info=error)
    else:
        log.debug("call refused", method=method, reason=mapped.reason, text=mapped.text, **ids)
    await context.abort_with_status(rpc_status.to_status(to_status(mapped)))
