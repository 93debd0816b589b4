"""A server that asks who calls, from outside: tokens from the command line, TLS, exit codes, and where it refuses to listen."""

import stat
from pathlib import Path

import pytest
import trustme

from e2e.servers import reallot, server
from reallot.server.commands.serve import CANNOT_START


def test_from_a_token_to_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "server.key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    principals = tmp_path / "principals.toml"
    made = reallot("token", "crm", "--grant", "default:viewer", "--file", str(principals))
    token = made.stdout.strip()
    assert (made.returncode, token not in principals.read_text()) == (0, True)
    assert stat.S_IMODE(principals.stat().st_mode) == 0o600
    assert "stands there more than once" in reallot("token", "crm", "--grant", "default:viewer", "--file", str(principals)).stderr
    assert "is no grant" in reallot("token", "other", "--grant", "default:emperor").stderr
    monkeypatch.setenv("REALLOT_TLS_CERTIFICATE", str(tmp_path / "server.pem"))
    monkeypatch.setenv("REALLOT_TLS_KEY", str(tmp_path / "server.key"))
    monkeypatch.setenv("REALLOT_PRINCIPALS_FILE", str(principals))
    with server(f"sqlite:///{tmp_path / 'secured.sqlite'}") as process:
        for name in ("CERTIFICATE", "KEY"):
            monkeypatch.delenv(f"REALLOT_TLS_{name}")
        assert reallot("sellers", "list", address=process.address).returncode == 3
        monkeypatch.setenv("REALLOT_TLS_CA", str(tmp_path / "ca.pem"))
        without = reallot("sellers", "list", address=process.address)
        assert (without.returncode, without.stderr.strip()) == (10, "error: a bearer token is needed")
        monkeypatch.setenv("REALLOT_TOKEN", token)
        assert reallot("sellers", "list", "--json", address=process.address).returncode == 0
        denied = reallot("rerun", address=process.address)
        assert (denied.returncode, "may not do this" in denied.stderr) == (10, True)
        monkeypatch.setenv("REALLOT_TOKEN_FILE", str(tmp_path / "missing"))
        assert "not both" in reallot("sellers", "list", address=process.address).stderr
        monkeypatch.delenv("REALLOT_TOKEN")
        assert "No such file" in reallot("sellers", "list", address=process.address).stderr


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "needs --allow-remote-without-authentication"),
        ({"PRINCIPALS_FILE": "principals.toml"}, "say --allow-remote-without-tls"),
        ({"TLS_CERTIFICATE": "server.pem"}, "tls_certificate and tls_key are needed together"),
        ({"JWT_KEYS": "keys.json"}, "jwt_keys needs jwt_issuer and jwt_audience"),
        ({"HOST": "127.0.0.1", "PRINCIPALS_FILE": "missing.toml"}, "missing.toml: "),
        ({"HOST": "127.0.0.1", "TLS_CERTIFICATE": "missing.pem", "TLS_KEY": "missing.key"}, "a certificate cannot be read"),
        ({"HOST": "127.0.0.1", "JWT_KEYS": "missing.json", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}, "missing.json"),
    ],
)
def test_what_does_not_protect_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], fault: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("principals.toml").touch()
    for name, value in ({"HOST": "0.0.0.0", "PORT": "0"} | settings).items():
        monkeypatch.setenv(f"REALLOT_{name}", value)
    refused = reallot("serve", "--database-url", f"sqlite:///{tmp_path / 'x.sqlite'}")
    assert (refused.returncode, fault in refused.stderr) == (CANNOT_START, True), refused.stderr
