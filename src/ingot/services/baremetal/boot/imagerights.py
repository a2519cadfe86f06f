"""By whose right the images are opened that a node names: by that of whoever wrote the name.

Not of whoever starts the work: an operator who cleans or deploys a tenant's machine would open for the tenant what the
tenant may not see. Who wrote it is kept beside the name. Each time the image is opened identity is asked who that is by now, so that a
role or a share that was taken back counts, and a name is only looked for among what its writer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Missing, Unauthenticated

if TYPE_CHECKING:
    from ingot.kit.api.operations import Still

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
    """Somebody who named an image, as they were then; `viewer` tells what is left of that.

    roles: they never have more than these. cloud: the operator, or a service that has asked for its own users, who
    see everything for as long as they have all of the roles; without a user the cloud itself.
    through: a project that must see the image too, since an image of its names it; "" for one of nobody's.
    lasting: what is booted again and again (instances without a disk, the agent) does not end with the person, as
    long as the project sees it.
    """

    cloud: bool = False
    user: str = ""
    project_id: str = ""
    roles: tuple[str, ...] = ()
    system: bool = False
    through: str | None = None
    lasting: bool = False

    def caller(self) -> Caller:
        """Who they were."""
        return Caller(
            user_id=self.user or None,
            project_id=self.project_id or None,
            system=self.system,
            roles=frozenset(self.roles),
        )


#: What the cloud itself names, by its settings.
CLOUD = Right(cloud=True)
_Rights = dict[str, Right]


def of(caller: Caller, *, trusted: bool = False) -> Right:
    """A caller's right. trusted: a service account that asks for users whom it has checked itself.

    The system scope is the operators' own.
    """
    return Right(
        cloud=trusted or caller.system,
        user=caller.user_id or "",
        project_id=caller.project_id or "",
        roles=tuple(sorted(caller.roles)),
        system=caller.system,
    )


async def viewer(right: Right, still: Still) -> Caller | None:
    """Who looks for an image by a right, as they are by now; None for who sees everything.

    Missing when identity knows of no right of theirs any more.
    """
    then = right.caller()
    if not right.user:
        return None if right.cloud else then
    try:
        now = await still(then)
    except Unauthenticated:
        if right.lasting and right.project_id:
            return of_project(right.project_id).caller()
        raise Missing(
            f"User {right.user}, who named the image, has no right in its project any more.",
            next_action="Let somebody name the image again who sees it.",
        ) from None
    held = then.roles & now.roles
    if right.cloud and held == then.roles:
        return None
    return replace(then, roles=held)


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


def lasting(rights: Mapping[str, Right]) -> _Rights:
    """The same for what is opened at every boot from now on."""
    return {name: msgspec.structs.replace(right, lasting=True) for name, right in rights.items()}


def of_project(project_id: str | None) -> Right:
    """The right of a project's members; without a project that of somebody who sees only what all see."""
    return Right(project_id=project_id or "", roles=("member", "reader"))


def _all() -> frozenset[str]:
    return frozenset(f"{part}.{name}" for part, names in NAMES.items() for name in names)
