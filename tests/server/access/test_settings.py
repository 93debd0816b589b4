"""Where a server refuses to listen, what it refuses to be told by halves, and tokens as they are made."""

import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from reallot.clients import Security
from reallot.server.access.authentication import authenticator_of
from reallot.server.access.directory import Directory
from reallot.server.commands.serve import check_config
from reallot.server.commands.token import token
from reallot.server.listening import faults_of, listen, notes_on
from reallot.server.settings import Settings, load_settings

TLS = {"tls_certificate": "server.pem", "tls_key": "server.key"}
SECURED = {"principals_file": "principals.toml"}


@pytest.mark.parametrize(
    ("settings", "flags", "fault"),
    [
        ({"host": "127.0.0.1"}, (False, False), ""),
        ({"host": "::1"} | SECURED, (False, False), ""),
        ({}, (False, True), "needs --allow-remote-without-authentication"),
        (TLS, (False, True), "needs --allow-remote-without-authentication"),
        ({}, (True, False), ""),
        (SECURED, (True, False), "say --allow-remote-without-tls"),
        (SECURED, (False, True), ""),
        (SECURED | TLS, (False, False), ""),
    ],
)
def test_beyond_this_machine_authentication_and_tls_are_needed_or_a_flag(
    settings: dict[str, Any], flags: tuple[bool, bool], fault: str
) -> None:
    made = Settings(**({"host": "0.0.0.0"} | settings))
    found = faults_of(made, without_authentication=flags[0], without_tls=flags[1])
    assert fault in found
    assert bool(fault) == bool(found)


def test_a_server_says_how_it_is_protected() -> None:
    assert notes_on(Settings()) == "this machine only, no authentication"
    assert notes_on(Settings(host="0.0.0.0", tls_client_ca="ca.pem", **SECURED, **TLS)) == "client certificates, authentication"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"tls_certificate": "server.pem"}, "tls_certificate and tls_key are needed together"),
        ({"tls_client_ca": "ca.pem"}, "tls_client_ca needs tls_certificate"),
        ({"jwt_keys": "keys.json", "jwt_issuer": "somebody"}, "jwt_keys needs jwt_issuer and jwt_audience"),
    ],
)
def test_what_is_said_by_halves_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Settings(**settings)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(ValueError, match="missing: "):
        authenticator_of(Settings(principals_file=missing))
    with pytest.raises(ValueError, match="missing: "):
        authenticator_of(Settings(jwt_keys=missing, jwt_issuer="i", jwt_audience="a"))
    with pytest.raises(ValueError, match="a certificate cannot be read"):
        listen(None, Settings(tls_certificate=missing, tls_key=missing))
    with pytest.raises(FileNotFoundError):
        Security(token_file=tmp_path / "missing").shown()


def test_what_a_client_is_to_show_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALLOT_TOKEN", "a")
    assert Security.from_environment().shown() == (("authorization", "Bearer a"),)
    monkeypatch.setenv("REALLOT_TOKEN_FILE", "b")
    with pytest.raises(ValueError, match="not both"):
        Security.from_environment()
    with pytest.raises(ValueError, match="certificate and its key"):
        Security(certificate_file=Path("a"))


def test_a_token_is_printed_once_and_its_hash_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "principals.toml"
    token("crm", ["w:integrator"], 0, file)
    secret = capsys.readouterr().out.strip()
    token("ann", ["w:seller:ann", "w:viewer"], 30, file)
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = Directory(file).of_token(hashlib.sha256(secret.encode()).hexdigest())
    assert found is not None
    assert (found.name, found.expires_s) == ("crm", None)
    for name, grant in (("crm", "w:viewer"), ("other", "w:emperor")):
        with pytest.raises(typer.Exit):
            token(name, [grant], 0, file)
    said = capsys.readouterr().err
    assert "crm stands there more than once" in said
    assert "is no grant" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["principals.toml"]


def test_the_url_of_the_database_may_stand_in_a_file_and_is_shown_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, toml = tmp_path / "url", tmp_path / "reallot.toml"
    file.write_text("postgresql://reallot:hunter2@db/reallot\n")
    toml.write_text(f'database_url_file = "{file}"\n')
    made = load_settings(toml)
    assert made.database_url == "postgresql://reallot:hunter2@db/reallot"
    check_config(toml)
    told = capsys.readouterr().out
    assert "postgresql://reallot:***@db/reallot" in told
    assert "hunter2" not in told
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x.sqlite")
    with pytest.raises(ValidationError, match="not both"):
        load_settings(toml)
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ValidationError, match="database_url_file cannot be read"):
        Settings(database_url_file=str(tmp_path / "missing"))
