"""Types of the image service that other services and the app may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

#: Told while an image is converted: a share from 0 to 1.
Progress = Callable[[float], None]

DISK_FORMATS = ("raw", "qcow2", "iso", "ami", "ari", "aki")
CONTAINER_FORMATS = ("bare", "ami", "ari", "aki")
VISIBILITIES = ("public", "private", "shared", "community")


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Options of the image service.

    state_dir: content goes to `images/` below it, the key of deploy URLs to `deploy-url-key` (0600).
    folder, keys_dir: where these are instead.
    deploy_base_url: the provisioning listener as booting machines reach it, such as http://10.0.0.1:6386.
    host: this host's name; it clears at its start what it left half received.
    most_bytes: the largest content taken.
    reserve_bytes: disk space that uploads never use up, since the database lives on the same disk.
    convert_seconds: the deadline of one conversion to raw.
    """

    state_dir: Path
    deploy_base_url: str = ""
    host: str = "localhost"
    most_bytes: int = 1 << 40
    reserve_bytes: int = 256 << 20
    convert_seconds: float = 3600.0
    folder: Path | None = None
    keys_dir: Path | None = None
    policy: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Image:
    """An image as other services see it. Sizes in bytes, min_disk in GiB, min_ram in MiB.

    os_hash_algo is sha512; checksum is md5, both of the content as stored (qcow2 as qcow2).
    """

    id: str
    name: str | None
    status: str
    owner: str | None
    visibility: str
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    checksum: str | None
    sha256: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    min_disk: int
    min_ram: int
    protected: bool
    properties: dict[str, str]
    tags: tuple[str, ...]
    created_at: str
    updated_at: str

    @property
    def kernel_id(self) -> str | None:
        return self.properties.get("kernel_id")

    @property
    def ramdisk_id(self) -> str | None:
        return self.properties.get("ramdisk_id")


@dataclass(frozen=True, slots=True)
class RawView:
    """An image's content as a raw disk: the file, its size in bytes and its sha512."""

    path: Path
    size: int
    sha512: str


@dataclass(frozen=True, slots=True)
class Content:
    """What was received: size in bytes and digests in hex."""

    size: int
    md5: str
    sha256: str
    sha512: str
