"""Builders: the agent ramdisk and the instance image, made from Debian packages.

Two recipes (folders under `recipes/`) and what is common to them: a cache by
content, mmdebstrap, a disk put together in a file. Knows nothing of the cloud
that will boot what it makes.
"""

from ingot.builders.cache import default_cache
from ingot.builders.debian import MIRROR
from ingot.builders.host import check_host, missing_packages, required_packages
from ingot.builders.image import KERNELS, build_image
from ingot.builders.ramdisk import MINIMUM_MEMORY_MIB, build_ramdisk
from ingot.builders.types import BuildFault, Built, HostPackage, Progress

__all__ = [
    "KERNELS",
    "MINIMUM_MEMORY_MIB",
    "MIRROR",
    "BuildFault",
    "Built",
    "HostPackage",
    "Progress",
    "build_image",
    "build_ramdisk",
    "check_host",
    "default_cache",
    "missing_packages",
    "required_packages",
]
