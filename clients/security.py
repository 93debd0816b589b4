"""How a client proves who it is, and how it knows the server: TLS, client certificates, bearer tokens."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

LARGEST_MESSAGE = 64 * 1024 * 1024
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Security:
    """What to show, and whom to believe.

    Attributes:
        tls: Speak TLS; so does whoever names one of the files below.
        ca_file: Authorities of the server's certificate, PEM; None = those of the machine.
        certificate_file: The client's own certificate, PEM, with `key_file`.
        key_file: Key of the certificate, PEM.
        server_name: Name that the server's certificate bears, if it is not the one in the address.
        token: Bearer token, or a function that returns the present one.
        token_file: File with the bearer token, read again for each call.
    """

    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    token: str | Callable[[], str] = ""
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a certificate and its key are needed together")
        if self.token and self.token_file is not None:
            raise ValueError("a token or a file with one, not both")

    @staticmethod
    def from_environment() -> "Security":
        """Return what the environment says: REALLOT_TLS=1, REALLOT_TLS_CA, _CERTIFICATE, _KEY, _SERVER_NAME, REALLOT_TOKEN, _TOKEN_FILE.

        Raises:
            ValueError: it says only half of what is needed.
        """

        def path(name: str) -> Path | None:
            return Path(os.environ[name]) if os.environ.get(name) else None

        return Security(
            tls=os.environ.get("REALLOT_TLS", "").lower() in ("1", "true", "yes", "on"),
            ca_file=path("REALLOT_TLS_CA"),
            certificate_file=path("REALLOT_TLS_CERTIFICATE"),
            key_file=path("REALLOT_TLS_KEY"),
            server_name=os.environ.get("REALLOT_TLS_SERVER_NAME", ""),
            token=os.environ.get("REALLOT_TOKEN", ""),
            token_file=path("REALLOT_TOKEN_FILE"),
        )

    def channel(self, address: str, language: str = "") -> Any:
        """Return a channel to a server, which shows the token with every call, and asks for a language.

        Raises:
            OSError: a file cannot be read.
        """
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        if self.tls or self.ca_file or self.certificate_file:
            made = grpc.aio.secure_channel(address, self._credentials(), options=options)
        else:
            made = grpc.aio.insecure_channel(address, options=options)
        return _Showing(made, lambda: self.shown(language)) if language or self.token or self.token_file else made

    def shown(self, language: str = "") -> Metadata:
        """Return the metadata that show the present token, and ask for a language.

        Raises:
            OSError: its file cannot be read.
        """
        asked = (("accept-language", language),) if language else ()
        if not self.token and self.token_file is None:
            return asked
        if self.token_file is not None:
            token = self.token_file.read_text("utf-8").strip()
        else:
            token = self.token() if callable(self.token) else self.token
        return (("authorization", f"Bearer {token}"), *asked)

    def _credentials(self) -> grpc.ChannelCredentials:
        authorities, key, certificate = (
            path.read_bytes() if path is not None else None for path in (self.ca_file, self.key_file, self.certificate_file)
        )
        return grpc.ssl_channel_credentials(authorities, key, certificate)


class _Showing:
    """A channel whose calls carry metadata of their own."""

    def __init__(self, channel: Any, shown: Callable[[], Metadata]) -> None:
        self._channel = channel
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        if name not in KINDS:
            return found

        def made(*arguments: Any, **named: Any) -> Callable[..., Any]:
            method = found(*arguments, **named)

            def call(*given: Any, metadata: Any = (), **more: Any) -> Any:
                return method(*given, metadata=(*(metadata or ()), *self._shown()), **more)

            return call

        return made

    async def __aenter__(self) -> "_Showing":
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self._channel.close()
