"""Config drives: an ISO 9660 image labelled `config-2`, as cloud-init and Ignition read it.

Pure and in memory. Source: the OpenStack Compute documentation, "Config drives"; the Bare Metal API takes
the result as gzip and base64, or the documents themselves from 1.56 on.
"""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from typing import Any

import msgspec

from ingot.kit.faults import Invalid

LABEL = "config-2"
#: The agent writes config drives to a partition of this size.
LARGEST = 64 << 20
_VERSION = "2018-08-27"
#: Window bits of zlib: a gzip member, with its head and sum.
_GZIP = 31
_MOST_MEMBERS = 16


def files(documents: dict[str, Any]) -> dict[str, bytes]:
    """Path -> content of a drive for {meta_data, network_data, user_data, vendor_data, files}.

    files: [{"contents"}] in base64, which meta_data says where to put.
    """
    tree: dict[str, bytes] = {}
    for version in ("latest", _VERSION):
        for name in ("meta_data", "network_data", "vendor_data", "vendor_data2"):
            if documents.get(name) is not None:
                tree[f"openstack/{version}/{name}.json"] = _as_json(documents[name])
        user_data = documents.get("user_data")
        if user_data is not None:
            tree[f"openstack/{version}/user_data"] = _as_text(user_data)
    for number, file in enumerate(documents.get("files") or ()):
        tree[f"openstack/content/{number:04d}"] = base64.b64decode(file["contents"])
    return tree


def build(documents: dict[str, Any]) -> bytes:
    """The drive as gzip of an ISO image, base64: the form in which the agent takes it."""
    return pack(iso(files(documents)))


def iso(tree: dict[str, bytes]) -> bytes:
    """An ISO 9660 image with Joliet and Rock Ridge names."""
    import pycdlib  # few machines want a disc

    disc: Any = pycdlib.PyCdlib()
    disc.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    folders: dict[str, str] = {"": ""}
    for number, (path, content) in enumerate(sorted(tree.items())):
        *parents, name = path.split("/")
        here = ""
        for folder in parents:
            above, here = here, f"{here}/{folder}"
            if here not in folders:
                folders[here] = f"{folders[above]}/D{len(folders):06d}"
                disc.add_directory(folders[here], rr_name=folder, joliet_path=here)
        disc.add_fp(
            io.BytesIO(content),
            len(content),
            f"{folders[here]}/F{number:06d}.;1",
            rr_name=name,
            joliet_path=f"/{path}",
        )
    out = io.BytesIO()
    disc.write_fp(out)
    disc.close()
    return out.getvalue()


def pack(image: bytes) -> bytes:
    if len(image) > LARGEST:
        raise Invalid(f"The config drive is larger than {LARGEST >> 20} MiB.")
    return base64.b64encode(gzip.compress(image, mtime=0))


def unpack(packed: bytes) -> bytes:
    """The ISO image of a packed drive; Invalid when it is none, or larger than a drive may be."""
    try:
        image = _unzipped(base64.b64decode(packed, validate=True))
        if not image:
            raise ValueError("empty")
    except (ValueError, zlib.error):
        raise Invalid("The config drive is not base64 of a gzip file.") from None
    if len(image) > LARGEST:
        raise Invalid(f"The config drive is larger than {LARGEST >> 20} MiB.")
    return image


def _unzipped(data: bytes) -> bytes:
    """All members of a gzip file, of at most one octet more than a drive may have."""
    image = bytearray()
    # Each further member copies what is left.
    for _ in range(_MOST_MEMBERS):
        if not data or len(image) > LARGEST:
            break
        member = zlib.decompressobj(_GZIP)
        image += member.decompress(data, LARGEST + 1 - len(image))
        if not member.eof and len(image) <= LARGEST:
            raise ValueError("cut off")
        # What stands behind the last member may be filled up with zeros.
        data = member.unused_data.lstrip(b"\0")
    else:
        raise ValueError("in too many parts")
    return bytes(image)


def _as_json(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        return value.encode() if isinstance(value, str) else value
    return msgspec.json.encode(value)


def _as_text(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
