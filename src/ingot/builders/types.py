"""The values that go in and out of the builders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one readable line about what is being done."""


class BuildFault(Exception):
    """A build that could not be done.

    `step` is what was being done, `cause` why it failed in the failing tool's
    own words, `next_action` what the reader can do about it.
    """

    def __init__(self, step: str, cause: str, next_action: str) -> None:
        super().__init__(f"{step}: {cause}\n{next_action}")
        self.step = step
        self.cause = cause
        self.next_action = next_action


@dataclass(frozen=True)
class HostPackage:
    """A Debian package that the building machine needs."""

    name: str
    command: str
    """A command that the package brings; found on PATH = installed."""
    reason: str


@dataclass(frozen=True)
class Built:
    """A finished build in the cache.

    `files` are by role: `kernel`, `initramfs` of a ramdisk; `raw`, `qcow2` of an
    image; `packages` and `manifest` of both. `fresh` is False when the cache had
    it already; `seconds` is how long this call took.
    """

    kind: str
    digest: str
    folder: Path
    files: dict[str, Path]
    fresh: bool
    seconds: float
