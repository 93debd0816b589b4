"""The leads of an online school go into the segments of its example, counted exactly."""

import csv
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from reallot.clients.commands.importing import application

from world import Make

DATA = Path(os.environ.get("REALLOT_DATA", "nowhere"))
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "x_education.yaml"
COLUMNS = {
    "Lead Source": "lead_source",
    "Total Time Spent on Website": "seconds_on_website",
    "Country": "country",
    "City": "city",
}
EXACT = {"general": 4_971, "mumbai": 2_574, "google-hot": 892, "referral": 534, "international": 269}
needs_data = pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("REALLOT_DATA_REQUIRED"), reason="the real data is not here: REALLOT_DATA names its folder"
)


@needs_data
@pytest.mark.parametrize("fold_case", [False, True])
def test_every_lead_comes_into_its_segment(world: Make, address: str, tmp_path: Path, fold_case: bool) -> None:
    w = world()
    bundle = yaml.safe_load(EXAMPLE.read_text())
    if fold_case:
        bundle["record_types"][0]["fields"][0]["fold_case"] = True
    w.apply(**bundle)
    leads = tmp_path / "leads.csv"
    leads.write_bytes(gzip.decompress((DATA / "x_education" / "Leads.csv.gz").read_bytes()))
    maps = [part for column, field in COLUMNS.items() for part in ("--map", f"{column}={field}")]
    where = ("--address", address, "--workspace", w.client.inner.workspace)
    arguments = ["records", str(leads), "--type", "lead", "--id", "Prospect ID", "--null", "Select", *maps, *where, "--json"]
    ended = CliRunner().invoke(application, arguments)
    assert ended.exit_code == 0, ended.output
    w.settle()
    counts = Counter(record.segment_id for record in w.client.records.list(record_type="lead"))
    # Of the five leads from `google`, how many have looked long enough is told by the file itself.
    assert counts == (expected_when_folded(leads) if fold_case else EXACT)


def expected_when_folded(file: Path) -> dict[str, int]:
    """Count by the rules as the example words them, over the file, without the program."""
    counts: Counter[str] = Counter()
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            source, country = row["Lead Source"].lower(), row["Country"]
            if source == "reference":
                counts["referral"] += 1
            elif source == "google" and int(row["Total Time Spent on Website"]) >= 1000:
                counts["google-hot"] += 1
            elif country not in ("", "Select", "India", "unknown"):
                counts["international"] += 1
            else:
                counts["mumbai" if row["City"] == "Mumbai" else "general"] += 1
    return counts
