"""What is in the folders is in the wheel, under one name."""

import pathlib
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("clients", "server", "solver", "storage", "proto/gen/reallot")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def package_name(folder: pathlib.Path) -> str:
    return "reallot." + folder.relative_to(ROOT).as_posix().removeprefix("proto/gen/reallot/").replace("/", ".")


def test_every_package_is_in_the_wheel() -> None:
    present = {package_name(init.parent) for folder in FOLDERS for init in (ROOT / folder).rglob("__init__.py")}
    assert present == set(SETTINGS["packages"])


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {
        module.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for module in (ROOT / folder).rglob("*.py")
        if not (module.parent / "__init__.py").exists()
    }
    assert bare == set()


def test_no_folder_is_loaded_under_a_second_name() -> None:
    assert not {"clients", "server", "solver", "storage"} & set(sys.modules)
