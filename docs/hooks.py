"""What the site is given beside its pages: the reference of the contract from its comments, examples in full, decisions in the menu."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "proto"))
from reference import reference

_QUOTED = re.compile(r'^```python file="(?P<file>[^"]+)"\n', re.MULTILINE)


def on_config(config: Any) -> Any:
    """List the decisions in the menu."""
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    explanation = next(section["Explanation"] for section in config.nav if isinstance(section, dict) and "Explanation" in section)
    explanation[-1] = {"Decisions": [f"decisions/{name}" for name in pages]}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the reference of the contract; leave out programs of the site itself."""
    files.append(File.generated(config, "api.md", content=reference(ROOT / "proto")))
    return Files([file for file in files if file.src_uri != "hooks.py" and not file.src_uri.startswith("__pycache__")])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put a file in where a page asks for it."""
    return _QUOTED.sub(lambda match: "```python\n" + (ROOT / "docs" / match["file"]).read_text(), markdown)
