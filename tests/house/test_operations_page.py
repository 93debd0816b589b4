"""The operator's page lists every setting with its default."""

import pathlib
import re

from reallot.server.settings import Settings

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(\w+)` \| `([^`]*)` \| .+ \|$", re.MULTILINE)


def shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    settings = {name: shown(field.get_default(call_default_factory=True)) for name, field in Settings.model_fields.items()}
    assert dict(ROW.findall(PAGE.read_text())) == settings
