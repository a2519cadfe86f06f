"""Changes to an image by JSON patch: both media types of the Image API, read into one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ingot.kit.faults import Conflict, Fault, Forbidden, Invalid, Kind
from ingot.services.image import schemas

MEDIA_TYPES = {
    "application/openstack-images-v2.1-json-patch": 1,
    "application/openstack-images-v2.0-json-patch": 0,
}
_MOST_CHANGES = 1000


@dataclass(frozen=True, slots=True)
class PatchOperation:
    """op: add, replace or remove; name: the attribute."""

    op: str
    name: str
    value: Any = None


def read(body: list[Any], content_type: str | None) -> list[PatchOperation]:
    """The changes of a body; a 415 for another media type, a 400 for what is no change."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media not in MEDIA_TYPES:
        raise Fault(
            f"Unsupported Content-Type {media or '(none)'}: use "
            "application/openstack-images-v2.1-json-patch.",
            kind=Kind.MEDIA_TYPE,
        )
    if len(body) > _MOST_CHANGES:
        raise Invalid(f"A patch has {_MOST_CHANGES} changes at most.")
    return [_change(item, MEDIA_TYPES[media]) for item in body]


def _change(item: Any, minor: int) -> PatchOperation:
    if not isinstance(item, dict):
        raise Invalid("Operations must be JSON objects.")
    given = cast("dict[str, Any]", item)
    if minor:
        op, path = given.get("op"), given.get("path")
    else:
        named = [key for key in ("add", "replace", "remove") if key in given]
        op = named[0] if len(named) == 1 else None
        path = given.get(op) if op else None
    if op not in ("add", "replace", "remove"):
        raise Invalid("Operations must be one of add, replace and remove.")
    if not isinstance(path, str) or not path.startswith("/") or len(path) < 2:
        raise Invalid(f"A path starts with '/' and names an attribute, unlike {path!r}.")
    if op != "remove" and "value" not in given:
        raise Invalid(f"The operation {op!r} needs a value.")
    name = path[1:]
    if "/" in name:
        raise Invalid(f"The path {path!r} is too deep.")
    return PatchOperation(op, name.replace("~1", "/").replace("~0", "~"), given.get("value"))


def apply(
    values: dict[str, Any], properties: dict[str, str], changes: list[PatchOperation]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Known fields that change, and all properties as they will be."""
    changed: dict[str, Any] = {}
    free = dict(properties)
    for change in changes:
        if change.name in schemas.READ_ONLY or change.name == "id":
            raise Forbidden(f"Attribute '{change.name}' is read-only.")
        if change.name in schemas.KNOWN:
            if change.op == "remove":
                raise Forbidden(f"Property {change.name} may not be removed.")
            changed |= schemas.settable({change.name: change.value})[0]
            continue
        if change.op != "add" and change.name not in free:
            raise Conflict(f"Property {change.name} does not exist.")
        if change.op == "remove":
            del free[change.name]
        else:
            free |= schemas.checked_properties({change.name: change.value})
    # An image of before there was a bound may have more: that can be made less.
    grows = schemas.octets_of(free) > schemas.octets_of(properties)
    if grows or len(free) > len(properties):
        schemas.check_all(free)
    return {key: value for key, value in changed.items() if values.get(key) != value}, free
