"""A server that asks who calls, from outside: tokens from the command line, TLS, exit codes."""

import stat
from pathlib import Path

import pytest
import trustme

from e2e.servers import reallot, server


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
    monkeypatch.setenv("REALLOT_TLS_CERTIFICATE", str(tmp_path / "server.pem"))
    monkeypatch.setenv("REALLOT_TLS_KEY", str(tmp_path / "server.key"))
    monkeypatch.setenv("REALLOT_PRINCIPALS_FILE", str(principals))
    with server(f"sqlite:///{tmp_path / 'secured.sqlite'}") as process:
        for name in ("CERTIFICATE", "KEY"):
            monkeypatch.delenv(f"REALLOT_TLS_{name}")
        assert reallot("sellers", "list", address=process.address).returncode == 3
        monkeypatch.setenv("REALLOT_TLS_CA", str(tmp_path / "ca.pem"))
        without = reallot("sellers", "list", address=process.address)
        assert (without.returncode, without.stderr.startswith("error: a bearer token is needed")) == (11, True)
        assert "REALLOT_TOKEN" in without.stderr
        monkeypatch.setenv("REALLOT_TOKEN", token)
        assert reallot("sellers", "list", "--json", address=process.address).returncode == 0
        denied = reallot("rerun", address=process.address)
        assert (denied.returncode, "may not do this" in denied.stderr) == (11, True)
