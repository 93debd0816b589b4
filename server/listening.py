"""Where the server listens, and with which certificate. Certificates are read again when their files change."""

from pathlib import Path
from typing import Any

import grpc

from reallot.server.settings import Settings, is_loopback


def listen(server: Any, settings: Settings) -> int:
    """Have a server listen where its settings say, and return the port.

    Raises:
        ValueError: a file of certificates cannot be read.
        RuntimeError: the address cannot be listened on.
    """
    address = f"{settings.host}:{settings.port}"
    if not settings.tls_certificate:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, _Certificates(settings).credentials()))


def faults_of(settings: Settings, *, without_authentication: bool, without_tls: bool) -> str:
    """Return why a server should not listen where its settings say, and what allows it all the same; "" for nothing."""
    if is_loopback(settings.host):
        return ""
    if not settings.has_authentication:
        if without_authentication:
            return ""
        text = f"listening on {settings.host} without authentication (principals_file, jwt_keys)"
        return f"{text} needs --allow-remote-without-authentication"
    if not settings.tls_certificate and not without_tls:
        text = f"listening on {settings.host} without tls_certificate would send tokens readable over the network"
        return f"{text}: behind a proxy that brings TLS, say --allow-remote-without-tls"
    return ""


def notes_on(settings: Settings) -> str:
    """Return how a server is protected, in a few words."""
    reach = "this machine only, " if is_loopback(settings.host) else ""
    transport = "client certificates, " if settings.tls_client_ca else "TLS, " if settings.tls_certificate else ""
    return f"{reach}{transport}{'authentication' if settings.has_authentication else 'no authentication'}"


class _Certificates:
    """The files, read at each handshake if they have changed. Called from threads of gRPC."""

    def __init__(self, settings: Settings) -> None:
        self._key, self._certificate = Path(settings.tls_key), Path(settings.tls_certificate)
        self._authorities = Path(settings.tls_client_ca) if settings.tls_client_ca else None
        self._seen: tuple[int, ...] = ()

    def credentials(self) -> grpc.ServerCredentials:
        try:
            self._seen, first = self._state(), self._read()
        except OSError as error:
            raise ValueError(f"a certificate cannot be read: {error}") from None
        return grpc.dynamic_ssl_server_credentials(first, self._renewed, require_client_authentication=self._authorities is not None)

    def _renewed(self) -> Any:
        """Return what the files hold, or None if that is what is known; files that cannot be read change nothing."""
        try:
            state = self._state()
            if state == self._seen:
                return None
            found = self._read()
        except OSError:
            return None
        self._seen = state
        return found

    def _read(self) -> Any:
        authorities = self._authorities.read_bytes() if self._authorities is not None else None
        pair = (self._key.read_bytes(), self._certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)

    def _state(self) -> tuple[int, ...]:
        paths = [self._key, self._certificate, *([self._authorities] if self._authorities is not None else [])]
        return tuple(path.stat().st_mtime_ns for path in paths)
