"""Traces for OpenTelemetry: a span for every call of the contract, and one for every batch of the road with its stages below it.

Imported only where the settings name somebody who takes them (`otlp_endpoint`). Spans carry methods, codes, ids, kinds and counts;
never what stands in a field. Their times are those of the machine's clock, as those of callers are.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.context import Context as Parent
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from reallot.server.interceptors import Context, Handler, behaviour_of, ids_of, replaced, send

TRACED = "/reallot."
"""Calls of health, reflection and the like, which orchestrators make all the time, are left out."""
EXPORT_S, CLOSE_S = 2.0, 3.0
"""How long one export may take, and how long what is left may take when the server stops."""
_CARRIED = ("traceparent", "tracestate")
_FAULTS = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS", "UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"})
"""Codes by which a span says that the server has failed, not the caller."""
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Traces:
    """Makes spans and hands them to an exporter, from a thread of its own."""

    def __init__(self, endpoint: str, share: float, *, version: str, address: Callable[[], str]) -> None:
        """Begin to trace.

        Args:
            endpoint: Where spans are sent by OTLP over gRPC; with https:// over TLS.
            share: Part of the traces that begin here that is kept; those that callers began are kept as they say.
            version: Version of the program.
            address: Tells where the server is reached.
        """
        self._exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"), timeout=EXPORT_S)
        resource = Resource.create({"service.name": "reallot", "service.version": version})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("reallot", version)
        self._address = address
        self._propagator = TraceContextTextMapPropagator()

    async def close(self) -> None:
        """Send what is left, within reason."""
        closing = asyncio.ensure_future(asyncio.to_thread(self._provider.shutdown))
        await asyncio.wait((closing,), timeout=CLOSE_S)
        if not closing.done():
            # What is left is given up.
            self._exporter.shutdown()
        await closing

    @contextlib.contextmanager
    def call(self, method: str, metadata: Any) -> Iterator[trace.Span]:
        """Give the span of a call, below the one that its caller is in, if the caller says so."""
        service, _, name = method[1:].partition("/")
        said = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "server.address": self._address()}
        with self._tracer.start_as_current_span(
            method[1:], self._parent(metadata), SpanKind.SERVER, said, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    def _parent(self, metadata: Any) -> Parent:
        carried = {name: value for name, value in metadata or () if name in _CARRIED and isinstance(value, str)}
        return self._propagator.extract(carried, Parent())

    def batch(
        self, kind: str, workspace: str, run_id: str, seconds: Mapping[str, float], counts: Mapping[str, int], planned_ns: int
    ) -> None:
        """Write down a batch that was carried out.

        Args:
            kind: Kind of the run, "INTAKE" for pending records.
            workspace: The workspace.
            run_id: The run.
            seconds: What the worker's stages took, in their order.
            counts: What became of the records.
            planned_ns: When the plan was there, since the epoch: the stages came before, the commit after it.
        """
        begun_ns = planned_ns - sum(_ns(spent) for spent in seconds.values())
        said: dict[str, Any] = {"reallot.run_kind": kind.lower(), "reallot.workspace": workspace, "reallot.run_id": run_id}
        results = {f"reallot.records.{outcome.lower()}": number for outcome, number in counts.items()}
        whole = self._tracer.start_span("reallot.batch", Parent(), SpanKind.INTERNAL, said | results, start_time=begun_ns)
        below, at_ns, now_ns = trace.set_span_in_context(whole), begun_ns, max(planned_ns, time.time_ns())
        ends = []
        for stage, spent in seconds.items():
            ends.append((stage, at_ns, at_ns := at_ns + _ns(spent)))
        for stage, start_ns, end_ns in (*ends, ("commit", planned_ns, now_ns)):
            part = self._tracer.start_span(
                f"reallot.{stage}", below, SpanKind.INTERNAL, {"reallot.stage": stage} | said, start_time=start_ns
            )
            part.end(end_ns)
        whole.end(now_ns)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


class TracingInterceptor(grpc.aio.ServerInterceptor):
    """Makes a span around each call, outside of everything else that stands before its handler."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._wrapped: dict[tuple[str, Handler], Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a call of the contract."""
        handler, method = await continuation(handler_call_details), str(handler_call_details.method)
        if handler is None or not method.startswith(TRACED):
            return handler
        wrapped = self._wrapped.get((method, handler))
        if wrapped is None:
            wrapped = self._wrapped[method, handler] = self._traced(handler, method)
        return wrapped

    def _traced(self, handler: Handler, method: str) -> Handler:
        inner, traces = behaviour_of(handler), self._traces

        async def unary(request: Any, context: Context) -> Any:
            with traces.call(method, context.invocation_metadata()) as span:
                _say(span, request)
                try:
                    answer = await inner(request, context)
                    _say(span, answer)
                except BaseException:
                    _end(span, _code_of(context))
                    raise
                _end(span, "OK")
                return answer

        async def stream(request: Any, context: Context) -> None:
            with traces.call(method, context.invocation_metadata()) as span:
                _say(span, request)
                try:
                    await send(inner(request, context), context)
                except BaseException:
                    _end(span, _code_of(context))
                    raise
                _end(span, "OK")

        return replaced(handler, stream if handler.response_streaming else unary)


def _code_of(context: Context) -> str:
    """Return the code with which a call was refused; a call without one was given up by its caller."""
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _CODES[int(code)] if code else "CANCELLED"


def _say(span: trace.Span, message: Any) -> None:
    for name, text in ids_of(message).items():
        span.set_attribute(f"reallot.{name}", text)


def _end(span: trace.Span, code: str) -> None:
    span.set_attribute("rpc.grpc.status_code", getattr(grpc.StatusCode, code).value[0])
    span.set_attribute("reallot.code", code)
    if code in _FAULTS:
        span.set_status(Status(StatusCode.ERROR))
