"""YAML files of configuration."""

from pathlib import Path

import pytest

from reallot.clients.bundle import BundleError, parse_bundle, read_bundle, to_yaml

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_can_be_read_and_written_back(path: Path, tmp_path: Path) -> None:
    resources, _ = read_bundle(path)
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(resources))
    assert sorted(read_bundle(again)[0], key=str) == sorted(resources, key=str)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"segmets": []}, "'segmets' is no kind"),
        ({"segments": [{"segment_id": "a", "conditon": "x"}]}, r"segments\[0\].*conditon"),
        ({"segments": {}}, "segments is not a list"),
        ({"sellers": [{"seller_id": 7}]}, r"sellers\[0\]"),
        ([], "not a mapping"),
    ],
)
def test_faults_name_the_place(document: object, place: str) -> None:
    with pytest.raises(BundleError, match=place):
        parse_bundle(document)  # type: ignore[arg-type]
