"""By whose right the images are opened that a node names: by that of whoever wrote the name.

Not of whoever starts the work: an operator who cleans or deploys a tenant's machine would open for the tenant what the
tenant may not see. The right is kept beside the name and looked at again each time the image is opened, so that a
share that was taken back counts, and a name is only looked for among what its writer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ingot.kit.policy import Caller

#: Where nodes name images.
NAMES: Mapping[str, tuple[str, ...]] = {
    "instance_info": ("image_source", "kernel", "ramdisk", "boot_iso"),
    "driver_info": (
        "deploy_kernel",
        "deploy_ramdisk",
        "deploy_iso",
        "rescue_kernel",
        "rescue_ramdisk",
        "rescue_iso",
    ),
}


class Right(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who named an image. cloud: the operator, or a service that has asked for its own users."""

    cloud: bool = False
    user: str = ""
    project_id: str = ""
    roles: tuple[str, ...] = ()


CLOUD = Right(cloud=True)
_Rights = dict[str, Right]


def of(caller: Caller, *, trusted: bool = False) -> Right:
    """A caller's right. trusted: a service account that asks for users whom it has checked itself.

    The system scope is the operators' own.
    """
    if trusted or caller.system:
        return CLOUD
    return Right(
        user=caller.user_id or "",
        project_id=caller.project_id or "",
        roles=tuple(sorted(caller.roles)),
    )


def written(
    known: Any, before: Mapping[str, Any], after: Mapping[str, Any], right: Right
) -> dict[str, Any]:
    """The rights of a node after a change of its document by `right`; a name that stays keeps its own."""
    kept = {name: right_ for name, right_ in read(known).items() if name in _all()}
    for part in NAMES.keys() & after.keys():
        old: Mapping[str, Any] = before.get(part) or {}
        new: Mapping[str, Any] = after[part] or {}
        for name in NAMES[part]:
            if new.get(name) != old.get(name):
                kept[f"{part}.{name}"] = right
            if not new.get(name):
                kept.pop(f"{part}.{name}", None)
    return msgspec.to_builtins(kept)


def read(known: Any) -> _Rights:
    return msgspec.convert(known or {}, _Rights)


def right_to(known: Any, project_id: str | None, name: str) -> Right:
    """The right to open what `name` (such as "instance_info.kernel") names.

    project_id: the node's user or owner, whose right counts for names that were written before rights were kept.
    """
    found = read(known).get(name)
    if found is not None:
        return found
    return of_project(project_id) if project_id else CLOUD


def of_project(project_id: str | None) -> Right:
    """The right of a project's members; without a project that of somebody who sees only what all see."""
    return Right(project_id=project_id or "", roles=("member", "reader"))


def _all() -> frozenset[str]:
    return frozenset(f"{part}.{name}" for part, names in NAMES.items() for name in names)
