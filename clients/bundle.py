"""YAML files of configuration: the contract's JSON with comments, in bundles by kind."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from reallot.v1 import config_pb2, seller_service_pb2

KINDS = {
    "settings": "settings",
    "record_types": "record_type",
    "teams": "team",
    "queues": "queue",
    "sequences": "sequence",
    "segments": "segment",
    "triggers": "trigger",
    "schedules": "schedule",
}
"""Kinds by the key of their list in a bundle, in the order in which they are exported."""


class BundleError(ValueError):
    """A file that cannot be read; the text names the file and the place in it."""


def read_bundle(path: Path) -> tuple[list[config_pb2.ConfigResource], list[seller_service_pb2.SellerUpsert]]:
    """Return the resources and sellers of a YAML file.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{path}: {error}") from None
    return parse_bundle(document, str(path))


def parse_bundle(
    document: dict[str, Any], name: str = "bundle"
) -> tuple[list[config_pb2.ConfigResource], list[seller_service_pb2.SellerUpsert]]:
    """Return the resources and sellers of a bundle.

    Raises:
        BundleError: a key or value is not of the contract.
    """
    if not isinstance(document, dict):
        raise BundleError(f"{name}: the file is not a mapping of kinds")
    resources = []
    for key, content in document.items():
        if key == "sellers":
            continue
        if key not in KINDS:
            raise BundleError(f"{name}: {key!r} is no kind; kinds are {', '.join(KINDS)} and sellers")
        items = [content] if key == "settings" else content
        if not isinstance(items, list):
            raise BundleError(f"{name}: {key} is not a list")
        for index, item in enumerate(items):
            resource = config_pb2.ConfigResource()
            getattr(resource, KINDS[key]).SetInParent()
            _parse(item, getattr(resource, KINDS[key]), f"{name}: {key}[{index}]")
            resources.append(resource)
    sellers = []
    for index, item in enumerate(document.get("sellers") or ()):
        row = seller_service_pb2.SellerUpsert()
        _parse(item, row.seller, f"{name}: sellers[{index}]")
        sellers.append(row)
    return resources, sellers


def _parse(item: Any, message: Any, place: str) -> None:
    try:
        json_format.ParseDict(item, message)
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise BundleError(f"{place}: {error}") from None


def plain(resource: config_pb2.ConfigResource) -> dict[str, Any]:
    """Return what a bundle says of a resource: without what only the server writes."""
    content = getattr(resource, str(resource.WhichOneof("resource")))
    made: dict[str, Any] = json_format.MessageToDict(content, preserving_proto_field_name=True)
    for name in ("next_time", "last_time"):
        made.pop(name, None)
    return made


def to_yaml(resources: list[config_pb2.ConfigResource]) -> str:
    """Return resources as the YAML of a bundle."""
    document: dict[str, Any] = {}
    for key, kind in KINDS.items():
        items = [plain(resource) for resource in resources if resource.WhichOneof("resource") == kind]
        if items:
            document[key] = items[0] if key == "settings" else items
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
