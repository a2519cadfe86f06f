"""What a file really is, before anybody uses it.

An image's declared format must be the one that its content shows, and a qcow2 image must stand alone: a
backing or data file would let its owner read files of this host. The inspector is the one that Glance,
Nova and Ironic took after their image CVEs of 2024 (oslo.utils `format_inspector`).
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from ingot.kit.faults import Invalid

#: What content of a declared format may look like. A raw disk mostly shows its partition table.
_MAY_BE = {"raw": ("raw", "gpt"), "qcow2": ("qcow2",), "iso": ("iso", "gpt")}


@functools.cache
def _formats() -> Any:
    """oslo.utils' module, loaded with the first image."""
    from oslo_utils.imageutils import format_inspector

    # Its own log of refused images says nothing that our fault does not.
    logging.getLogger(format_inspector.__name__).setLevel(logging.ERROR)
    return format_inspector


#: How disks of other formats begin; an ISO image leaves that place to boot loaders.
_OTHER_HEADS = (
    b"QFI\xfb",
    b"KDMV",
    b"COWD",
    b"# Disk DescriptorFile",
    b"vhdxfile",
    b"conectix",
    b"QED\0",
)


def inspect(path: Path, declared: str, most: int = 0) -> int | None:
    """The virtual size in bytes of content that is what it says; Invalid with the cause otherwise.

    Kernels and ramdisks (aki, ari, ami) are no disks: None. most: the largest virtual size that is taken, 0 for any.
    """
    size = _inspected(path, declared)
    if most and size is not None and size > most:
        raise Invalid(
            f"The {declared} image is one of a disk of {size >> 30} GiB; at most {most >> 30} are taken.",
            next_action="Make the disk in it smaller (qemu-img resize --shrink) and upload it again.",
        )
    return size


def _inspected(path: Path, declared: str) -> int | None:
    if declared not in _MAY_BE:
        return None
    if path.stat().st_size == 0:
        raise Invalid("The image has no content.")
    if declared == "iso":
        with path.open("rb") as file:
            if file.read(32).startswith(_OTHER_HEADS):
                raise _mismatch(declared, "also that of a disk")
        return _inspect_as(path, "iso").actual_size and path.stat().st_size
    try:
        found: Any = _formats().detect_file_format(str(path))
    except _formats().ImageFormatError as wrong:
        raise _mismatch(declared, f"more than one format ({wrong})") from None
    name = str(found) if found is not None else "nothing known"
    if name not in _MAY_BE[declared]:
        raise _mismatch(declared, name)
    if declared == "raw":
        return path.stat().st_size
    _not_encrypted(path)
    return _stands_alone(_inspect_as(path, declared), declared)


def _not_encrypted(path: Path) -> None:
    """No key comes with an image. The method stands at octet 32 of a qcow2 header."""
    with path.open("rb") as file:
        if any(file.read(36)[32:]):
            raise Invalid(
                "The qcow2 image is refused: it is encrypted.",
                next_action="Decrypt it (qemu-img convert) and upload it again.",
            )


def _inspect_as(path: Path, declared: str) -> Any:
    """The inspector of the declared format, fed."""
    kind: Any = _formats().get_inspector(declared)
    try:
        return kind.from_file(str(path))
    except _formats().ImageFormatError:
        raise _mismatch(declared, "something else") from None
    except Exception as wrong:  # a broken header makes the parser itself stumble
        raise Invalid(
            f"The image's {declared} header cannot be read.", internal=repr(wrong)
        ) from None


def _stands_alone(inspector: Any, declared: str) -> int:
    try:
        inspector.safety_check()
    except _formats().SafetyCheckFailed as failed:
        reasons = "; ".join(str(reason) for reason in failed.failures.values())
        raise Invalid(
            f"The {declared} image is refused: {reasons}.",
            next_action="Flatten it (qemu-img convert -O qcow2) and upload it again.",
        ) from None
    except _formats().ImageFormatError as wrong:
        raise Invalid(f"The {declared} image is refused: {wrong}.") from None
    return int(inspector.virtual_size)


def _mismatch(declared: str, found: str) -> Invalid:
    return Invalid(
        f"The image says it is {declared}, but its content is {found}.",
        next_action="Create it with the disk_format that it has.",
    )
