"""What is wrong with an instance's image, as far as instance_info tells. Pure; for `validate`.

The rules are the Bare Metal API's: an image at a URL needs a checksum; an image of a file system
(image_type partition, or kernel and ramdisk beside it) needs the size of its partition; that of a whole
disk brings its own partitions, so none may be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

PARTITION, WHOLE = "partition", "whole-disk"
LAYOUT = ("root_gb", "swap_mb", "ephemeral_gb")
TRUE, FALSE = ("1", "t", "true", "on", "y", "yes"), ("0", "f", "false", "off", "n", "no")
HASHES = {"sha256": 64, "sha384": 96, "sha512": 128}

Info = Mapping[str, object]


def is_partition(info: Info) -> bool:
    """Whether the image is that of a file system."""
    kind = info.get("image_type")
    return kind == PARTITION if kind else bool(info.get("kernel") and info.get("ramdisk"))


def problems(info: Info) -> tuple[str, ...]:
    """What instance_info lacks for a deploy that writes an image."""
    source = str(info.get("image_source") or "")
    if not source:
        return ("instance_info.image_source is missing",)
    found: list[str] = []
    kind = info.get("image_type")
    if kind and kind not in (PARTITION, WHOLE):
        found.append(f'Invalid image_type "{kind}", valid are {PARTITION}, {WHOLE}')
    if source.startswith(("http://", "https://")):
        found += _checksum(info)
    return (*found, *_layout(info))


def proxy_problems(driver_info: Info) -> tuple[str, ...]:
    """What is wrong with the proxies that the agent is told to use."""
    found = [
        f"driver_info.{name} is no URL with that scheme"
        for name, scheme in (("image_http_proxy", "http"), ("image_https_proxy", "https"))
        if driver_info.get(name) and urlsplit(str(driver_info[name])).scheme not in ("http", scheme)
    ]
    hosts = str(driver_info.get("image_no_proxy") or "")
    if any(char in hosts for char in " /\n") or (hosts and not all(hosts.split(","))):
        found.append("driver_info.image_no_proxy is no list of hosts separated by commas")
    return tuple(found)


def _checksum(info: Info) -> list[str]:
    algo, value = info.get("image_os_hash_algo"), info.get("image_os_hash_value")
    if bool(algo) != bool(value) or not (value or info.get("image_checksum")):
        return [
            "image_source's image_checksum, or image_os_hash_algo and image_os_hash_value, must be "
            "provided in instance_info"
        ]
    if str(value).startswith(("http://", "https://")):
        return []  # a checksum file, fetched when the deploy begins
    wanted = HASHES.get(str(algo)) if algo else None
    if algo and wanted is None:
        return [f"image_os_hash_algo {algo} is none of {', '.join(HASHES)}"]
    if wanted is not None and len(str(value)) != wanted:
        return [f"image_os_hash_value has {len(str(value))} digits, {algo} has {wanted}"]
    return []


def _layout(info: Info) -> list[str]:
    found = [
        f"Cannot deploy: {name} {info[name]!r} is not an integer value"
        for name in LAYOUT
        if info.get(name) is not None and not _whole(info[name])
    ]
    keep = info.get("preserve_ephemeral")
    if keep is not None and str(keep).lower() not in (*TRUE, *FALSE):
        found.append(f"Cannot deploy: preserve_ephemeral {keep!r} is not true or false")
    if is_partition(info):
        if not info.get("root_gb"):
            found.append("instance_info.root_gb is missing: the image is that of a file system")
    # Compute fills these in from flavors whatever the image is: only a clear wish counts.
    elif info.get("image_type") == WHOLE and any(_more(info, name) for name in LAYOUT[1:]):
        found.append("Cannot deploy whole disk image with swap or ephemeral size set")
    return found


def _more(info: Info, name: str) -> bool:
    return _whole(info.get(name)) and int(str(info[name])) > 0


def _whole(value: object) -> bool:
    return str(value).isdecimal() and not isinstance(value, bool)
