"""`image_info`: what the agent must be told to write an image.

Shape read from the agent's own validation (extensions/standby.py of 13.0). A checksum is mandatory.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingot.kit.faults import Invalid

DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True)
class Partitions:
    """How the disk is divided for the image of a file system; sizes in MiB, 0 for none.

    root: where the image goes; at least as large as it. ephemeral_format: "ext4" …; preserve_ephemeral: the
    partitions are there already and the ephemeral one is kept.
    """

    root: int
    swap: int = 0
    ephemeral: int = 0
    ephemeral_format: str | None = None
    preserve_ephemeral: bool = False

    def info(self) -> dict[str, object]:
        return {
            "image_type": "partition",
            "root_mb": self.root,
            "swap_mb": self.swap,
            "ephemeral_mb": self.ephemeral,
            "ephemeral_format": self.ephemeral_format or "ext4",
            "preserve_ephemeral": self.preserve_ephemeral,
        }


@dataclass(frozen=True)
class DeployImage:
    """An image for the agent to fetch.

    id: also the name of its file in the agent's memory. urls: tried in turn. disk_format: "raw" or
    "qcow2". os_hash_algo: "sha256", "sha384" or "sha512". stream_raw: write a raw image to the
    disk while it is fetched instead of keeping it in memory first (only for disk_format raw).
    boot_mode: "uefi" or "bios". node_id: names the config drive's partition. partitions: for the image of
    a file system; None for that of a whole disk.
    """

    id: str
    urls: tuple[str, ...]
    disk_format: str
    os_hash_algo: str
    os_hash_value: str
    container_format: str = "bare"
    stream_raw: bool = True
    boot_mode: str = "uefi"
    node_id: str = "local"
    proxies: tuple[tuple[str, str], ...] = ()
    no_proxy: str = ""
    partitions: Partitions | None = None

    def info(self) -> dict[str, object]:
        """The value of `image_info`. Raises Invalid for an image that the agent would refuse."""
        self._check()
        info: dict[str, object] = {
            "id": self.id,
            "urls": list(self.urls),
            "disk_format": self.disk_format,
            "container_format": self.container_format,
            "image_type": "whole-disk",
            "os_hash_algo": self.os_hash_algo,
            "os_hash_value": self.os_hash_value,
            "stream_raw_images": self.stream_raw and self.disk_format == "raw",
            "deploy_boot_mode": self.boot_mode,
            "boot_option": "local",
            "node_uuid": self.node_id,
        }
        if self.partitions is not None:
            info.update(self.partitions.info())
        if self.proxies:
            info["proxies"] = dict(self.proxies)
            info["no_proxy"] = self.no_proxy
        return info

    def _check(self) -> None:
        if not self.id or "/" in self.id or self.id.startswith("."):
            raise Invalid(f"image id {self.id!r} cannot be a file name")
        if not self.urls:
            raise Invalid("an image needs at least one URL")
        wanted = DIGEST_LENGTHS.get(self.os_hash_algo)
        if wanted is None:
            known = ", ".join(DIGEST_LENGTHS)
            raise Invalid(f"hash {self.os_hash_algo!r} is not one of {known}")
        digits = set(self.os_hash_value.lower()) <= set("0123456789abcdef")
        if len(self.os_hash_value) != wanted or not digits:
            raise Invalid(f"a {self.os_hash_algo} digest has {wanted} hexadecimal digits")
