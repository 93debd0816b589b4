"""What is in the folders is in the wheel, under one name."""

import pathlib
import sys
import tomllib

from reallot.clients import cli

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("clients", "server", "solver", "storage", "proto/gen/reallot")
WHOLE, CLIENT = (tomllib.loads((ROOT / place / "pyproject.toml").read_text()) for place in (".", "clients"))
SETTINGS = WHOLE["tool"]["setuptools"]


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


def test_the_client_alone_is_the_same_as_in_the_whole() -> None:
    whole, client = WHOLE["project"], CLIENT["project"]
    assert [client[name] for name in ("version", "requires-python", "license")] == [
        whole[name] for name in ("version", "requires-python", "license")
    ]
    assert set(client["dependencies"]) | set(client["optional-dependencies"]["load"]) <= set(whole["dependencies"])
    commands = whole["entry-points"][cli.GROUP]
    spoken = {name: place for name, place in commands.items() if place.startswith("reallot.clients.")}
    assert client["entry-points"][cli.GROUP] == spoken
    assert set(cli.OF_SERVER) == commands.keys() - spoken.keys()
    packaged = CLIENT["tool"]["setuptools"]
    assert set(packaged["packages"]) == {name for name in SETTINGS["packages"] if name.split(".")[1] in ("clients", "testing", "v1")}
    places = {name: (ROOT / "clients" / place).resolve() for name, place in packaged["package-dir"].items()}
    assert places == {name: (ROOT / SETTINGS["package-dir"][name]).resolve() for name in places}
