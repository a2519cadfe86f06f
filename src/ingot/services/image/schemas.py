"""Bodies and queries of the Image API, and the JSON schemas that it publishes of itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ingot.kit import ids
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.image.types import CONTAINER_FORMATS, DISK_FORMATS, VISIBILITIES

Name = Annotated[str, Meta(max_length=255)]
Tag = Annotated[str, Meta(min_length=1, max_length=255)]
Size = Annotated[int, Meta(ge=0, le=2_147_483_647)]
DiskFormat = Literal["raw", "qcow2", "iso", "ami", "ari", "aki"]
ContainerFormat = Literal["bare", "ami", "ari", "aki"]
Visibility = Literal["public", "private", "shared", "community"]


class Settable(Struct):
    """What a client may say about an image by the fields that the API knows."""

    id: str | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET
    protected: bool | UnsetType = UNSET
    os_hidden: bool | UnsetType = UNSET
    disk_format: DiskFormat | UnsetType | None = UNSET
    container_format: ContainerFormat | UnsetType | None = UNSET
    min_disk: Size | UnsetType = UNSET
    min_ram: Size | UnsetType = UNSET
    owner: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    tags: Annotated[list[Tag], Meta(max_length=128)] | UnsetType = UNSET


#: Told by us, never set by a client.
READ_ONLY = frozenset(
    {
        "status",
        "created_at",
        "updated_at",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "size",
        "virtual_size",
        "file",
        "self",
        "schema",
        "first",
        "next",
        "direct_url",
        "locations",
        "stores",
    }
)
KNOWN = frozenset(Settable.__struct_fields__)
_MOST_PROPERTIES = 128
#: Octets (UTF-8) of the names and values of all properties of one image.
MOST_PROPERTY_OCTETS = 256 << 10
_PREFIX_OF_OURS = "os_glance_"

ImageBody = dict[str, Any]


class MemberBody(Struct, forbid_unknown_fields=True):
    member: Annotated[str, Meta(min_length=1, max_length=255)]


class MemberStatusBody(Struct):
    status: Literal["pending", "accepted", "rejected"]  # the stock client names the member here too


class ImportMethod(Struct):
    name: str


class ImportBody(Struct):
    method: ImportMethod


def settable(attributes: ImageBody) -> tuple[dict[str, Any], dict[str, str]]:
    """Known fields, checked, and the free properties of a document; a clear 4xx for anything else."""
    for name in attributes:
        if name in READ_ONLY:
            raise Forbidden(f"Attribute '{name}' is read-only.")
    known = {key: value for key, value in attributes.items() if key in KNOWN}
    try:
        checked = msgspec.convert(known, Settable)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input: {wrong}.") from None
    values = {key: value for key in KNOWN if (value := getattr(checked, key)) is not UNSET}
    if "id" in values:
        if not ids.is_uuid(values["id"]):
            raise Invalid("Invalid input: the id of an image is a UUID.")
        # Another spelling of an id is no other id.
        values["id"] = ids.canonical_uuid(values["id"])
    if "tags" in values:
        values["tags"] = sorted(set(values["tags"]))
    rest = {key: value for key, value in attributes.items() if key not in KNOWN}
    properties = checked_properties(rest)
    check_all(properties)
    return values, properties


def checked_properties(rest: dict[str, Any]) -> dict[str, str]:
    """Free properties of a document, or some of a patch."""
    for key, value in rest.items():
        if not key or len(key) > 255:
            raise Invalid("The name of a property has 1 to 255 characters.")
        if key.startswith(_PREFIX_OF_OURS):
            raise Forbidden(f"Attribute '{key}' is reserved.")
        if not isinstance(value, str) or len(value) > 65_535:
            raise Invalid(f"The property '{key}' must be a text of at most 65535 characters.")
    return rest


def check_all(properties: dict[str, str]) -> None:
    """What holds for all properties of an image together. Invalid when they are too many or too long."""
    if len(properties) > _MOST_PROPERTIES:
        raise Invalid(f"An image has {_MOST_PROPERTIES} properties at most.")
    octets = octets_of(properties)
    if octets > MOST_PROPERTY_OCTETS:
        raise Invalid(
            f"The properties of an image have {MOST_PROPERTY_OCTETS} octets together at most, not {octets}."
        )


def octets_of(properties: dict[str, str]) -> int:
    """Of all names and values, in UTF-8."""
    return sum(len(text.encode(errors="replace")) for pair in properties.items() for text in pair)


def _text(**more: Any) -> dict[str, Any]:
    return {"type": ["null", "string"], **more}


def image_schema() -> dict[str, Any]:
    """The JSON schema `image`, as clients such as glanceclient read it."""
    fixed = {"readOnly": True}
    return {
        "name": "image",
        "properties": {
            "id": {"type": "string", "description": "An identifier for the image"},
            "name": _text(maxLength=255),
            "status": {
                "type": "string",
                "enum": [
                    "queued",
                    "saving",
                    "active",
                    "deactivated",
                    "uploading",
                    "importing",
                ],
                **fixed,
            },
            "visibility": {"type": "string", "enum": list(VISIBILITIES)},
            "protected": {"type": "boolean"},
            "os_hidden": {"type": "boolean"},
            "checksum": _text(maxLength=32, **fixed),
            "os_hash_algo": _text(maxLength=64, **fixed),
            "os_hash_value": _text(maxLength=128, **fixed),
            "owner": _text(maxLength=255),
            "size": {"type": ["null", "integer"], **fixed},
            "virtual_size": {"type": ["null", "integer"], **fixed},
            "container_format": _text(enum=[None, *CONTAINER_FORMATS]),
            "disk_format": _text(enum=[None, *DISK_FORMATS]),
            "created_at": {"type": "string", **fixed},
            "updated_at": {"type": "string", **fixed},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
            "min_ram": {"type": "integer"},
            "min_disk": {"type": "integer"},
            "self": {"type": "string", **fixed},
            "file": {"type": "string", **fixed},
            "schema": {"type": "string", **fixed},
            "stores": {"type": "string", **fixed},
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _many(name: str, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": one},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def member_schema() -> dict[str, Any]:
    text = {"type": "string"}
    names = ("member_id", "image_id", "created_at", "updated_at", "schema")
    status = {"type": "string", "enum": ["pending", "accepted", "rejected"]}
    return {"name": "member", "properties": {**dict.fromkeys(names, text), "status": status}}


SCHEMAS: dict[str, dict[str, Any]] = {
    "image": image_schema(),
    "images": _many("images", image_schema()),
    "member": member_schema(),
    "members": _many("members", member_schema()),
}
