"""A server that asks for a client certificate and a token, the people who call it, and every call of its contract."""

import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from jwt.algorithms import ECAlgorithm

from reallot.clients import Security
from reallot.server.app import Application
from reallot.server.settings import Settings
from reallot.storage import migrate
from reallot.testing.v1 import clock_service_pb2
from reallot.v1 import (
    assignment_service_pb2,
    config_service_pb2,
    event_service_pb2,
    insight_service_pb2,
    record_service_pb2,
    seller_service_pb2,
    sequence_service_pb2,
    solver_service_pb2,
    workspace_service_pb2,
)
from support.api import Refusal, refusal_of

OWN, OTHER, MISSING = "own", "other", "missing"
ISSUER, AUDIENCE = "https://issuer.example.com", "reallot"
PATIENCE_S = 20
MODULES = (
    *(assignment_service_pb2, config_service_pb2, event_service_pb2, insight_service_pb2, record_service_pb2, seller_service_pb2),
    *(sequence_service_pb2, solver_service_pb2, workspace_service_pb2, clock_service_pb2, health_pb2, reflection_pb2, channelz_pb2),
)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every call that the server answers, as the contract describes it."""
GOOD_KEY, BAD_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def signed(subject: str = "somebody", *grants: str, key: Any = GOOD_KEY, algorithm: str | None = "ES256", **claims: Any) -> str:
    """Return a token that the server accepts, but for what is said otherwise; claims of None are left out."""
    base = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 86_400, "reallot": list(grants)}
    content = {name: value for name, value in (base | claims).items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers={"kid": "first"})


def key_set() -> dict[str, Any]:
    """Return the issuer's public keys."""
    return {"keys": [json.loads(ECAlgorithm.to_jwk(GOOD_KEY.public_key())) | {"kid": "first", "use": "sig", "alg": "ES256"}]}


def entry(name: str, token: str, *grants: str, expires: str = "") -> str:
    """Return the entry of a static token in the file of principals."""
    lines = ["[[tokens]]", f'name = "{name}"', f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"', f"grants = {json.dumps(grants)}"]
    return "\n".join([*lines, *([f"expires = {expires}"] if expires else [])]) + "\n"


class Fortress:
    """A running server, and channels to it."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self._folder = folder
        server = self.authority.issue_cert("localhost")
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        server.private_key_pem.write_to_path(folder / "server.key")
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        client = self.authority.issue_cert("client.example.com")
        client.cert_chain_pems[0].write_to_path(folder / "client.pem")
        client.private_key_pem.write_to_path(folder / "client.key")
        (folder / "keys.json").write_text(json.dumps(key_set()))
        self.principals = folder / "principals.toml"

    def file(self, name: str) -> Path:
        return self._folder / name

    def security(self, token: Any = "") -> Security:
        """Return what a client with a good certificate shows."""
        files = (self.file(name) for name in ("ca.pem", "client.pem", "client.key"))
        return Security(True, *files, token=token)

    def settings(self, **parts: Any) -> Settings:
        base: dict[str, Any] = {
            "host": "localhost",
            "port": 0,
            "clock": "manual:2026-03-02T08:00Z",
            "database_url": f"sqlite:///{self._folder / 'fortress.sqlite'}",
            "tls_certificate": str(self._folder / "server.pem"),
            "tls_key": str(self._folder / "server.key"),
            "tls_client_ca": str(self._folder / "ca.pem"),
            "principals_file": str(self.principals),
            "jwt_keys": str(self._folder / "keys.json"),
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
        }
        return Settings(**(base | parts))

    @asynccontextmanager
    async def served(self, **parts: Any) -> AsyncIterator["Fortress"]:
        settings = self.settings(**parts)
        migrate(settings.database_url)
        async with Application(settings) as app:
            self.app, self.address = app, f"localhost:{app.port}"
            yield self

    def channel(self, issuer: trustme.CA | None = None, name: str = "nobody.example.com") -> grpc.aio.Channel:
        """Return a channel that shows a certificate of an authority; None = it shows none."""
        own = issuer.issue_cert(name) if issuer is not None else None
        key = own.private_key_pem.bytes() if own is not None else None
        chain = own.cert_chain_pems[0].bytes() if own is not None else None
        return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(self.authority.cert_pem.bytes(), key, chain))


@dataclass(frozen=True)
class Answer:
    """How a call ended: "" for an answer."""

    code: str
    refusal: Refusal | None = None

    @property
    def passed(self) -> bool:
        return self.code not in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE")


def request_for(method: MethodDescriptor, **fields: Any) -> Message:
    """Return a request with those of some fields that it has; a list takes one value."""
    request = message_factory.GetMessageClass(method.input_type)()
    for name, value in fields.items():
        field = method.input_type.fields_by_name.get(name)
        if field is None:
            continue
        if field.is_repeated:
            getattr(request, name).append(value)
        else:
            setattr(request, name, value)
    if "options" in method.input_type.fields_by_name:
        # A problem that is refused at once: for others, a process would be started.
        request.options.time_limit.SetInParent()  # type: ignore[attr-defined]
    return request


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, token: str, request: Message) -> Answer:
    """Make a call with one request, and return how it ended; a stream is left after its first answer."""
    while True:
        answer = await _call(channel, method, token, request)
        # The client's library fails by itself where the end of a call crosses with what it is still sending: that carries no details.
        if not method.client_streaming or answer.refusal is not None or answer.code not in ("CANCELLED", "INTERNAL"):
            return answer


async def _call(channel: grpc.aio.Channel, method: MethodDescriptor, token: str, request: Message) -> Answer:
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    made = getattr(channel, kind)(path, request_serializer=lambda message: message.SerializeToString())
    asked = made(_one(request) if method.client_streaming else request, metadata=metadata, timeout=PATIENCE_S)
    try:
        if method.server_streaming:
            await anext(aiter(asked), None)
            asked.cancel()
        else:
            await asked
    except grpc.aio.AioRpcError as error:
        return Answer(error.code().name, refusal_of(error) if rpc_status.from_call(error) is not None else None)
    return Answer("")


async def _one(request: Message) -> AsyncIterator[Message]:
    yield request
