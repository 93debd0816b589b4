"""Settings of a server: environment (`REALLOT_…`, and `DATABASE_URL`) over a TOML file over the defaults."""

import ipaddress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from reallot.server.languages.catalogues import Languages

URL_NAMES = ("database_url", "DATABASE_URL", "REALLOT_DATABASE_URL")
LOCAL_NAMES = ("localhost", "ip6-localhost")


class Settings(BaseSettings):
    """How a server runs. Frozen; unknown keys are refused."""

    model_config = SettingsConfigDict(env_prefix="REALLOT_", frozen=True, extra="forbid", toml_file=None, populate_by_name=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=7350, ge=0, le=65_535)
    """Port to listen on; 0 = any free one."""
    database_url: str = Field(default="sqlite:///reallot.sqlite", validation_alias=AliasChoices(*URL_NAMES))
    """SQLAlchemy URL of the database."""
    database_url_file: str = ""
    """File with that URL, for one that holds a password; "" = it is said by `database_url`."""
    create_workspaces: bool = True
    """The first write to a workspace makes it; off = only operators make workspaces."""
    clock: str = "system"
    """"system", or "manual:2026-03-06T00:00Z" for tests and demonstrations, on a loopback address only."""
    coalesce_ms: int = Field(default=20, ge=0, le=10_000)
    """How long changes gather before a batch is taken."""
    batch_records: int = Field(default=5_000, ge=1, le=100_000)
    """Most pending records in one batch."""
    run_batch_records: int = Field(default=200_000, ge=1)
    """Most records that a run plans at once."""
    solve_time_limit_s: float = Field(default=300.0, gt=0)
    """Wall time that a batch may take in a worker."""
    most_solves: int = Field(default=2, ge=1)
    """Problems of callers' own that may be solved at once."""
    most_questions: int = Field(default=2, ge=1)
    """Questions about plans that may be answered at once; others wait."""
    most_problem_rows: int = Field(default=20_000_000, ge=1)
    """Most records, sellers and pairs together in a problem of a caller's own."""
    heartbeat_s: float = Field(default=15.0, ge=1, le=300)
    """Longest silence on a stream."""
    slow_after_s: float = Field(default=30.0, gt=0)
    """A follower who takes longer than this over one message is cut off."""
    follow_buffer: int = Field(default=10_000, ge=100)
    """Messages kept in memory for those who follow the same; who falls further behind reads from the database."""
    largest_message_bytes: int = Field(default=16 * 1024 * 1024, ge=64 * 1024)
    """Largest request."""
    most_queued_writes: int = Field(default=2_000, ge=0)
    """Callers' writes that may wait for the writer; 0 = no bound."""
    most_calls: int = Field(default=4_000, ge=0)
    """Calls that may be served at once, without streams; 0 = no bound."""
    most_streams: int = Field(default=10_000, ge=0)
    """Streams that may be served at once; 0 = no bound."""
    requests_per_s: float = Field(default=0.0, ge=0)
    """Requests that a workspace may make in a second; 0 = as many as it likes."""
    rows_per_s: float = Field(default=0.0, ge=0)
    """Rows that a workspace may send in a second; 0 = as many as it likes."""
    languages_folder: str = ""
    """Folder with further languages, each a file LANGUAGE.toml; "" = none."""
    tls_certificate: str = ""
    """File with the server's certificate and those up to its authority, PEM; "" = no TLS."""
    tls_key: str = ""
    """File with the key of the certificate, PEM."""
    tls_client_ca: str = ""
    """File with the authorities of clients' certificates, PEM: clients without one are not let in; "" = none are asked for."""
    principals_file: str = ""
    """File of principals: hashed tokens, and names of certificates."""
    jwt_keys: str = ""
    """JWKS of whoever issues signed tokens: a file or an https URL; "" = none are accepted."""
    jwt_issuer: str = ""
    """Issuer that a signed token must name."""
    jwt_audience: str = ""
    """Audience that a signed token must be for."""
    jwt_grants_claim: str = "reallot"
    """Claim that lists what a signed token grants."""
    jwt_clock_skew_s: float = Field(default=30.0, ge=0, le=600)
    """How far the issuer's clock may differ."""
    jwt_refresh_s: float = Field(default=300.0, ge=10)
    """After how long the keys are read again."""
    requests_per_s_per_caller: float = Field(default=0.0, ge=0)
    """Requests that one principal may make in a second; 0 = as many as it likes. Without authentication there are none."""
    most_streams_per_caller: int = Field(default=0, ge=0)
    """Streams that one principal may have at once; 0 = no bound. Without authentication there are none."""
    most_segments: int = Field(default=2_000, ge=1)
    """Segments that a workspace may have."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics."""
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of the metrics for Prometheus; None = there are none, 0 = any free one."""
    otlp_endpoint: str = ""
    """Where traces are sent by OTLP over gRPC, e.g. http://localhost:4317; "" = there are none."""
    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Part of the traces that begin at this server that is kept; callers decide about those that they began."""
    stop_grace_s: float = Field(default=5.0, ge=0)
    """How long running calls may finish when the server stops."""
    log_level: str = "info"
    """debug, info, warning or error."""
    json_logs: bool = False
    """Logs as JSON lines."""

    @model_validator(mode="before")
    @classmethod
    def _url_may_stand_in_a_file(cls, given: dict[str, Any]) -> dict[str, Any]:
        file = given.get("database_url_file")
        if not file:
            return given
        if any(name in given for name in URL_NAMES):
            raise ValueError("database_url and database_url_file say the same: not both")
        try:
            return given | {"database_url": Path(file).read_text("utf-8").strip()}
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"database_url_file cannot be read: {error}") from None

    @field_validator("languages_folder")
    @classmethod
    def _languages_are_right(cls, value: str) -> str:
        Languages().add_folder(value)
        return value

    @field_validator("clock")
    @classmethod
    def _clock_can_be_read(cls, value: str) -> str:
        if value != "system":
            manual_start_us(value)
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _traces_can_be_sent(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is no place for traces: write http://HOST:PORT, or https:// for TLS")
        return value

    @model_validator(mode="after")
    def _manual_clock_is_local(self) -> "Settings":
        if self.clock != "system" and not is_loopback(self.host):
            raise ValueError(f"a manual clock is for tests: it needs a loopback address, not {self.host!r}")
        return self

    @model_validator(mode="after")
    def _what_belongs_together_is_there(self) -> "Settings":
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key are needed together")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca needs tls_certificate: certificates are shown over TLS")
        if self.jwt_keys and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwt_keys needs jwt_issuer and jwt_audience: a token for somebody else must not do here")
        return self

    def shown(self) -> dict[str, Any]:
        """Return the settings by name as they may be shown to people: without passwords."""
        return self.model_dump() | {"database_url": url_without_password(self.database_url)}

    @property
    def has_authentication(self) -> bool:
        """Whether callers must prove who they are."""
        return bool(self.principals_file or self.jwt_keys)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what the caller says over the environment over the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(toml_file: Path | None = None, **given: Any) -> Settings:
    """Return the settings; `given` values that are not None win.

    Raises:
        ValidationError: a value cannot be used or a key is unknown.
    """
    made: type[Settings] = Settings
    if toml_file is not None:
        made = type(
            "Settings",
            (Settings,),
            {"model_config": {**Settings.model_config, "toml_file": toml_file}, "__doc__": Settings.__doc__},
        )
    return made(**{name: value for name, value in given.items() if value is not None})


def url_without_password(url: str) -> str:
    """Return the URL of a database with *** in the place of its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"


def manual_start_us(clock: str) -> int:
    """Return the instant at which a manual clock starts.

    Raises:
        ValueError: the text is not `manual:INSTANT` with a time zone.
    """
    kind, _, text = clock.partition(":")
    if kind != "manual":
        raise ValueError(f"{clock!r} is no clock: use system or manual:2026-03-06T00:00Z")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write e.g. 2026-03-06T00:00Z")
    return int(moment.astimezone(UTC).timestamp()) * 1_000_000


def is_loopback(host: str) -> bool:
    """Tell whether an address can only be reached from this machine."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
