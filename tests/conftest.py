"""Which tests the quick suite leaves to the whole one: those that live through crashes, load and long stories, and second engines."""

from pathlib import Path

import pytest

LONG_FOLDERS = ("benchmarks", "chaos", "deploy", "docs", "e2e", "fuzz")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the long folders, and the scenarios on a second engine, as long."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        parameters = getattr(item, "callspec", None)
        engines = parameters.params.values() if parameters else ()
        if folder in LONG_FOLDERS or (folder == "scenarios" and "postgresql" in engines):
            item.add_marker(pytest.mark.long)
