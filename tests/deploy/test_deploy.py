"""What is shipped for operators fits the program: settings, metrics, paths, and as much of each format as tools here can tell."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from servers import free_port, server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_METRIC = re.compile(r"\breallot_[a-z_]+")
HEALTHY = [sys.executable, "-m", "reallot.clients.healthy"]


@pytest.fixture(scope="module")
def metrics_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the metrics of a server."""
    port = free_port()
    config = tmp_path_factory.mktemp("deploy") / "reallot.toml"
    config.write_text(f"metrics_port = {port}\n")
    with server(f"sqlite:///{config.parent / 'deploy.sqlite'}", "--config", str(config)) as process:
        os.environ["REALLOT_PORT"] = str(process.port)
        yield port
        del os.environ["REALLOT_PORT"]


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(metrics_port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=30) as answer:
        told = answer.read().decode()
    described = set(re.findall(r"^# TYPE (\S+) ", told, re.MULTILINE))
    described |= {f"{name}_bucket" for name in re.findall(r"^# TYPE (\S+) histogram", told, re.MULTILINE)}
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules]
    assert len(asked) > 20
    assert {name for text in asked for name in _METRIC.findall(text)} - described == set()


def test_the_health_check_tells_a_server_from_none(metrics_port: int) -> None:
    quiet = {"capture_output": True, "timeout": 60, "check": False}
    port = {"REALLOT_PORT": os.environ["REALLOT_PORT"]}
    assert subprocess.run(HEALTHY, env=os.environ | port, **quiet).returncode == 0
    assert subprocess.run(HEALTHY, env=os.environ | {"REALLOT_METRICS_PORT": str(metrics_port)}, **quiet).returncode == 0
    for name in ("REALLOT_PORT", "REALLOT_METRICS_PORT"):
        assert subprocess.run(HEALTHY, env=os.environ | {name: str(free_port())}, **quiet).returncode == 1


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / "reallot.service"
    unit.write_text((DEPLOY / "reallot.service").read_text().replace("/opt/reallot/bin/reallot", sys.executable))
    told = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    faults = [line for line in (told.stdout + told.stderr).splitlines() if "reallot.service" in line]
    assert faults == []


def test_settings_in_the_how_to_are_settings(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    config = tmp_path / "reallot.toml"
    config.write_text(toml)
    command = [sys.executable, "-c", "from reallot.clients.cli import main; main()", "check-config", "--config", str(config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    known = {line.split()[0] for line in told.stdout.splitlines() if line[:1].isalpha()}
    assert set(tomllib.loads(toml)) <= known
    shipped = "".join(path.read_text() for path in DEPLOY.iterdir() if path.suffix != ".json")
    environment = set(re.findall(r"\bREALLOT_([A-Z_]+)\b", shipped))
    assert {name.lower() for name in environment} <= known


def test_containers_run_as_nobody_over_a_root_that_stays_as_it_is() -> None:
    pods = [m["spec"]["template"]["spec"] for m in manifests() if m["kind"] in ("Deployment", "Job")]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert all(services[name]["read_only"] for name in ("migrate", "reallot"))
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()


def test_the_image_is_given_what_it_is_built_of() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = {word.removeprefix("./") for line in re.findall(r"^COPY ((?!--).+) \S+$", text, re.MULTILINE) for word in line.split()}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert "USER 10001:10001" in text
    assert "--require-hashes" in text
    assert "--no-index --no-deps --no-build-isolation" in text


def test_the_lock_holds_every_package_by_its_hash() -> None:
    text = (DEPLOY / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert all(re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line) for line in lines)
    locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2].split()[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in (*project["project"]["dependencies"], *project["build-system"]["requires"])]
    unmet = [str(r) for r in wanted if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"), prereleases=True)]
    assert unmet == []


def test_the_bill_of_materials_lists_what_is_locked(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    target = tmp_path / "sbom.json"
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "requirements",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-file",
        str(target),
    ]
    made = subprocess.run([*command, str(DEPLOY / "requirements.lock")], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    bill = json.loads(target.read_text())
    locked = re.findall(r"^(\S+)==(\S+)", (DEPLOY / "requirements.lock").read_text(), re.MULTILINE)
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "reallot")
    assert {(part["name"], part["version"]) for part in bill["components"]} == set(locked)
