"""The verbs of the compute service: what the API may do with servers, flavors and key pairs.

Verbs are functions of a connection and run in the caller's transaction; what is long is an operation on
the subject `server:<uuid>` (see `workflows`).
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ingot import workflow
from ingot.kit import ids
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.db.database import Database, after_commit, timestamp, to_json
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Aborted, Conflict, Fault, Forbidden, Invalid, Kind, Missing
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import (
    Baremetal,
    ConsoleGrant,
    ConsoleTicket,
    HeldNode,
    ImageRight,
    image_right_of,
    image_viewer,
)
from ingot.services.compute import names, quota_store, states, store
from ingot.services.compute.types import (
    ComputeSettings,
    ConsoleLog,
    Flavor,
    Key,
    RequestedNetwork,
    Secrets,
    Server,
    ServerFault,
)
from ingot.services.image import Image, Images
from ingot.services.network import Networks, Port

if TYPE_CHECKING:
    from ingot.kit.api.operations import Still


#: Why an operation ends that a deletion waits for.
_ENDS = "The server is being deleted."
#: Who may act on a locked server, and take off a lock that is not theirs.
_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override"


def _counted(flavor: Flavor, count: int) -> dict[str, int]:
    return {"instances": count, "cores": flavor.vcpus * count, "ram": flavor.ram * count}


def _over(wanted: Mapping[str, int], used: Mapping[str, int], limits: Mapping[str, int]) -> Fault:
    """That a project has too little left."""
    limited = [name for name in wanted if limits[name] >= 0]
    over = [name for name in limited if used[name] + wanted[name] > limits[name]] or limited
    told = ", ".join(str(wanted[name]) for name in over)
    have = ", ".join(str(used[name]) for name in over)
    most = ", ".join(str(limits[name]) for name in over)
    return Fault(
        f"Quota exceeded for {', '.join(over)}: Requested {told}, but already used {have} "
        f"of {most} {', '.join(over)}",
        kind=Kind.LIMIT,
    )


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it was ordered, checked. count: so many of them, or at least `least` where a quota leaves no more."""

    name: str
    flavor: Flavor
    image_id: str
    networks: tuple[RequestedNetwork, ...]
    secrets: Secrets
    key: Key | None = None
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    description: str | None = None
    hostname: str | None = None
    config_drive: bool = True
    disk_config: str = "MANUAL"
    zone: str | None = None
    node: str | None = None
    security_groups: tuple[str, ...] = ("default",)
    group_id: str | None = None
    access_ip_v4: str | None = None
    access_ip_v6: str | None = None
    count: int = 1
    least: int | None = None


class Ordered(NamedTuple):
    """Servers that were ordered together."""

    uuids: list[str]
    reservation: str


class Compute:
    """The Compute service: the verbs on servers that its API, workflows and loops call."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        vault: Vault,
        baremetal: Baremetal,
        networks: Networks,
        images: Images,
        settings: ComputeSettings | None = None,
        consoles: ConsoleLog | None = None,
        *,
        still: Still,
    ) -> None:
        """still: who somebody is by now."""
        from ingot.services.compute.policies import RULES

        self.db = db
        self.clock = clock
        self.vault = vault
        self.baremetal = baremetal
        self.networks = networks
        self.images = images
        self.settings = settings or ComputeSettings()
        self.consoles = consoles
        self.still = still
        self.policy = Policy(RULES, self.settings.policy)
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> str:
        return timestamp(self.clock.now())

    # -- looking -----------------------------------------------------------------------------

    def get(
        self, conn: sa.Connection, uuid: str, caller: Caller | None = None, *, lock: bool = False
    ) -> Server:
        """A server; Missing when there is none that this caller may know of (None: everybody).

        lock: until the transaction ends.
        """
        server = store.find_server(conn, uuid, lock=lock) if ids.is_uuid(uuid) else None
        if server is None or not self.sees(caller, server):
            raise Missing(f"Instance {uuid} could not be found.")
        return server

    @staticmethod
    def sees(caller: Caller | None, server: Server) -> bool:
        """Servers of other projects are not there, except for administrators."""
        return caller is None or caller.project_id == server.project_id or "admin" in caller.roles

    def held_by(self, conn: sa.Connection, project_id: str) -> int:
        """How many servers a project has."""
        return store.count_servers(conn, project_id)

    def console_grant(self) -> ConsoleGrant:
        """Who may be at consoles of servers."""
        return _ServerGrant(self, self.still)

    async def opened(self, image_id: str, right: ImageRight) -> Image:
        """An active image as whoever ordered it sees it by now; Missing, or Invalid when it is not active."""
        try:
            image = await self.images.get(image_id, await image_viewer(right, self.still))
        except Fault as fault:
            if fault.kind is not Kind.MISSING:
                raise
            raise Missing(
                f"Image {image_id} was deleted, or the project does not see it any more: {fault.text}",
                next_action="Choose an image that the project sees.",
            ) from None
        if image.status != "active":
            raise Invalid(
                f"Image {image_id} is {image.status}, so it cannot be used.",
                next_action="Choose an active image.",
            )
        return image

    def machine(self, conn: sa.Connection, server: Server) -> HeldNode:
        """The server's machine, proved to be its own and locked; Conflict when it has none (any more)."""
        if server.node_uuid is None:
            raise Conflict(
                f"Instance {server.uuid} has no machine.",
                next_action="Delete the server and create it again.",
            )
        return self.baremetal.hold(conn, server.node_uuid, server.uuid)

    def has_machine(self, conn: sa.Connection, server: Server) -> bool:
        """Whether the machine that the server names is its own now."""
        return server.node_uuid is not None and store.holds(
            conn, self.baremetal.held(), server.uuid, server.node_uuid
        )

    def secrets_of(self, server: Server) -> Secrets:
        """Empty where they are not kept any more, or were not read (lists)."""
        if not server.sealed:
            return Secrets()
        return msgspec.json.decode(self.vault.open(server.sealed), type=Secrets)

    def seal(self, secrets: Secrets) -> str:
        return self.vault.seal(to_json(secrets))

    def with_groups(self, conn: sa.Connection, found: Sequence[Server]) -> list[Server]:
        """Servers with the names of the security groups that are on their ports now."""
        ports = [nic.port for server in found for nic in server.ports]
        groups = self.networks.groups_of_ports(conn, ports) if ports else {}

        def names(server: Server) -> tuple[str, ...]:
            mine = [groups[nic.port] for nic in server.ports if nic.port in groups]
            return tuple(dict.fromkeys(group.name for some in mine for group in some))

        return [
            replace(server, security_groups=names(server)) if server.ports else server
            for server in found
        ]

    def ports(self, conn: sa.Connection, server: Server) -> list[Port]:
        """The server's network ports; its project may have deleted some."""
        return self.networks.ports(conn, [nic.port for nic in server.ports])

    # -- limits ------------------------------------------------------------------------------

    def limits(self, conn: sa.Connection, project_id: str) -> dict[str, int]:
        return {**self.settings.quotas, **quota_store.quotas(conn, project_id)}

    def take_quota(
        self, conn: sa.Connection, project_id: str, flavor: Flavor, least: int, most: int
    ) -> int:
        """Count as many of `most` servers for a project as its quotas leave; a fault of kind LIMIT below `least`."""
        limits = self.limits(conn, project_id)
        if quota_store.use(conn, project_id, _counted(flavor, most), limits):
            return most
        used = quota_store.usage(conn, project_id)
        left = [
            (limits[name] - used[name]) // n
            for name, n in _counted(flavor, 1).items()
            if limits[name] >= 0 and n
        ]
        room = min([most, *left])
        if least <= room and quota_store.use(conn, project_id, _counted(flavor, room), limits):
            return room
        raise _over(_counted(flavor, least), used, limits)

    # -- servers -----------------------------------------------------------------------------

    def create(self, conn: sa.Connection, draft: Draft, caller: Caller, request_id: str) -> Ordered:
        """Order servers. Each starts an operation that finds it a machine."""
        project_id = caller.project_id
        if not project_id:
            raise Invalid("A server belongs to a project: use a token with project scope.")
        least = draft.count if draft.least is None else draft.least
        most = min(draft.count, self._room_for_ports(conn, project_id, draft, least))
        count = self.take_quota(conn, project_id, draft.flavor, least, most)
        if draft.group_id is not None:
            most = self.limits(conn, project_id)["server_group_members"]
            if 0 <= most < store.count_members(conn, draft.group_id) + count:
                raise Fault("Quota exceeded, too many servers in group", kind=Kind.LIMIT)
        reservation = f"r-{randomness.token_hex(4)}"
        order = {"right": msgspec.to_builtins(image_right_of(caller))}
        common = self._common(draft, caller, reservation)
        uuids = [ids.new_uuid() for _ in range(count)]
        for index, uuid in enumerate(uuids):
            name = draft.name if count == 1 else f"{draft.name}-{index + 1}"
            named = {"name": name, "hostname": draft.hostname or names.hostname(name, uuid)}
            store.insert_server(conn, {**common, **named, "uuid": uuid, "launch_index": index})
            self._start(conn, "server create", f"server:{uuid}", order, caller, request_id)
        return Ordered(uuids, reservation)

    def _room_for_ports(
        self, conn: sa.Connection, project_id: str, draft: Draft, least: int
    ) -> int:
        """So many of the servers may get their network ports; Forbidden below `least`."""
        wanted = sum(request.port is None for request in draft.networks)
        left = self.networks.ports_left(conn, project_id) if wanted else None
        if left is None or wanted * draft.count <= left:
            return draft.count
        if left // wanted < least:
            raise Forbidden(
                "Maximum number of ports exceeded",
                next_action="Delete ports that are not needed, or ask for a higher quota of ports.",
            )
        return left // wanted

    def _common(self, draft: Draft, caller: Caller, reservation: str) -> dict[str, Any]:
        """What servers that are ordered together have in common."""
        now = self.now()
        return {
            "project_id": caller.project_id,
            "user_id": caller.user_id,
            "description": draft.description,
            "vm_state": states.BUILDING,
            "task_state": states.SCHEDULING,
            "power_state": states.NOSTATE,
            "flavor": draft.flavor,
            "image_id": draft.image_id,
            "key_name": draft.key.name if draft.key else None,
            "key": draft.key,
            "config_drive": "True" if draft.config_drive else "",
            "disk_config": draft.disk_config,
            "access_ip_v4": draft.access_ip_v4,
            "access_ip_v6": draft.access_ip_v6,
            "availability_zone": None,
            "pinned_zone": draft.zone,
            "wanted_node": draft.node,
            "reservation_id": reservation,
            "locked": False,
            "locked_reason": None,
            "networks": draft.networks,
            "ports": (),
            "addresses": (),
            "security_groups": draft.security_groups,
            "metadata": draft.metadata,
            "tags": draft.tags,
            "group_id": draft.group_id,
            "fault": None,
            "node_uuid": None,
            "node_name": None,
            "sealed": self.seal(draft.secrets),
            "created_at": now,
            "updated_at": now,
        }

    def delete(self, conn: sa.Connection, server: Server, caller: Caller, request_id: str) -> None:
        """Give the machine back and forget the server, whatever is being done to it."""
        self.unlocked(server, caller)
        self.let_go(conn, server, caller.user_id or "", request_id)

    def let_go(self, conn: sa.Connection, server: Server, user: str, request_id: str) -> None:
        """Delete a server for somebody who may."""
        going = {"task_state": states.DELETING, "updated_at": self.now()}
        if not store.shift(conn, server.uuid, store.WANTED, **going):
            return
        # The row is ours from here on: what comes after us sees the deletion, what came before is live.
        if workflow.live_operation(conn, server.subject) is None:
            workflow.start(
                conn,
                "server delete",
                server.subject,
                {},
                project_id=server.project_id,
                request_id=request_id,
                requested_by=user,
            )
            return
        # The operation under way ends first; the loop then starts the deletion.
        workflow.cancel(conn, server.subject, _ENDS, by=user)

    def act(
        self,
        conn: sa.Connection,
        server: Server,
        action: str,
        caller: Caller,
        request_id: str,
        *,
        vm_states: Collection[str],
        task: str | None,
        order: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """Start an operation that needs a server at rest in one of these states; Conflict otherwise.

        The operation opens images by the caller's right.
        """
        self.unlocked(server, caller)
        if server.vm_state not in vm_states:
            raise Conflict(
                f"Cannot '{action}' instance {server.uuid} while it is in vm_state {server.vm_state}"
            )
        self._idle(server, action)
        if not self.has_machine(conn, server):
            raise self._machineless(server, action)
        rests = (store.RESTING, store.in_states(vm_states))
        if not self.shift(conn, server.uuid, *rests, task_state=task, **changes):
            raise Conflict(f"Cannot '{action}' instance {server.uuid}: its state has just changed.")
        order = {**(order or {}), "right": msgspec.to_builtins(image_right_of(caller))}
        self._start(conn, f"server {action}", server.subject, order, caller, request_id)

    @staticmethod
    def _machineless(server: Server, action: str) -> Conflict:
        taken = f"; {server.node_name} was taken away" if server.node_uuid else ""
        return Conflict(
            f"Cannot '{action}' instance {server.uuid}: it has no machine{taken}.",
            next_action="Delete the server and create it again.",
        )

    def lock(self, conn: sa.Connection, server: Server, caller: Caller, reason: str | None) -> None:
        """Whoever is of its project does not change the lock that is there."""
        ours = server.project_id == caller.project_id
        if not (server.locked and ours):
            by = "owner" if ours else "admin"
            self.update(conn, server.uuid, locked=True, locked_reason=reason, locked_by=by)

    def unlock(self, conn: sa.Connection, server: Server, caller: Caller) -> None:
        """An administrator's lock is taken off by whoever may override it only."""
        expected = "owner" if server.project_id == caller.project_id else "admin"
        if server.locked_by not in (None, expected):
            self.policy.require(_OVERRIDE, caller, {"project_id": server.project_id})
        self.update(conn, server.uuid, locked=False, locked_reason=None, locked_by=None)

    def reset(self, conn: sa.Connection, server: Server, vm_state: str) -> None:
        """An administrator's word on a server that nothing works on any more."""
        if workflow.live_operation(conn, server.subject) is not None:
            raise Conflict(
                f"Instance {server.uuid} is being worked on.",
                next_action="Wait for the operation's end, or delete the server.",
            )
        if not self.shift(conn, server.uuid, store.WANTED, vm_state=vm_state, task_state=None):
            raise Conflict(f"Instance {server.uuid} is being deleted.")
        if server.node_uuid:
            self.baremetal.report_again(conn, server.uuid, server.node_uuid)

    def step(self, conn: sa.Connection, uuid: str, task_state: str, **values: Any) -> None:
        """What an operation is at; Aborted when the server's deletion was asked for meanwhile."""
        if not self.shift(conn, uuid, store.WANTED, task_state=task_state, **values):
            raise Aborted(_ENDS)

    def settle(self, conn: sa.Connection, uuid: str, **values: Any) -> None:
        """The end of an operation: the server rests, unless its deletion was asked for meanwhile."""
        if not store.settle(conn, uuid, updated_at=self.now(), **values):
            self.ended(conn)

    def fails(self, conn: sa.Connection, uuid: str, fault: Fault) -> bool:
        """The bad end of an operation: ERROR, and why; False when the server is to be deleted anyway."""
        values = {"vm_state": states.ERROR, "task_state": None, "fault": self.server_fault(fault)}
        if self.shift(conn, uuid, store.WANTED, **values):
            return True
        self.ended(conn)
        return False

    def not_deleted(self, conn: sa.Connection, uuid: str, fault: Fault) -> None:
        """The server stays, says why, and can be deleted again."""
        values = {"vm_state": states.ERROR, "task_state": None, "fault": self.server_fault(fault)}
        self.shift(conn, uuid, **values)

    def gone(self, conn: sa.Connection, uuid: str) -> None:
        """The deletion is over."""
        now = self.now()
        server = store.find_server(conn, uuid)
        over = self.shift(
            conn,
            uuid,
            vm_state=states.DELETED,
            task_state=None,
            power_state=states.NOSTATE,
            terminated_at=now,
            deleted_at=now,
            node_uuid=None,
            sealed="",
        )
        if over and server is not None:
            quota_store.unuse(conn, server.project_id, _counted(server.flavor, 1))

    def shift(self, conn: sa.Connection, uuid: str, *where: Any, **values: Any) -> bool:
        """Change a server that is there and meets the conditions; False when it does not."""
        return store.shift(conn, uuid, *where, updated_at=self.now(), **values)

    def update(self, conn: sa.Connection, uuid: str, **values: Any) -> None:
        store.update_server(conn, uuid, updated_at=self.now(), **values)

    def set_fault(self, conn: sa.Connection, uuid: str, fault: Fault) -> None:
        """Put the cause where clients look for it."""
        self.update(conn, uuid, fault=self.server_fault(fault))

    def server_fault(self, fault: Fault) -> ServerFault:
        """A fault as clients are shown it."""
        return ServerFault(code=500, message=fault.sentence(), created=self.now())

    # -- waking ------------------------------------------------------------------------------

    def on_ended(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop when an operation has ended on a server that is to go."""
        self._listeners.append(listener)

    def ended(self, conn: sa.Connection) -> None:
        after_commit(conn, self._kick)

    def _kick(self) -> None:
        for listener in self._listeners:
            listener()

    def deletions_wait(self, conn: sa.Connection) -> bool:
        """Whether any deletion is not over, begun or not."""
        return bool(store.deleting(conn))

    def begin_deletions(self, conn: sa.Connection) -> int:
        """Start the deletions that waited for an operation's end."""
        waiting = store.deleting(conn)
        busy = workflow.live_operations(conn, [f"server:{uuid}" for uuid in waiting])
        begun = 0
        for uuid in waiting:
            if f"server:{uuid}" not in busy:
                server = self.get(conn, uuid)
                workflow.start(
                    conn,
                    "server delete",
                    server.subject,
                    {},
                    project_id=server.project_id,
                    requested_by=_who_ended(conn, server.subject),
                )
                begun += 1
        return begun

    # -- inside ------------------------------------------------------------------------------

    def unlocked(self, server: Server, caller: Caller) -> None:
        """Conflict when the server is locked, for whoever may not override that."""
        if server.locked and not self.policy.allows(_OVERRIDE, caller, {}):
            raise Conflict(f"Instance {server.uuid} is locked")

    @staticmethod
    def _idle(server: Server, action: str) -> None:
        if server.task_state is not None:
            raise Conflict(
                f"Cannot '{action}' instance {server.uuid} while it is in task_state "
                f"{server.task_state}"
            )

    @staticmethod
    def _start(
        conn: sa.Connection, kind: str, subject: str, order: Any, caller: Caller, request_id: str
    ) -> str:
        return workflow.start(
            conn,
            kind,
            subject,
            order,
            project_id=caller.project_id,
            request_id=request_id,
            requested_by=caller.user_id or "",
        )

    def operations(self, conn: sa.Connection, server: Server) -> Sequence[workflow.OperationRow]:
        """All operations of a server, newest first."""
        return workflow.operations(conn, server.subject, limit=1000)


def _who_ended(conn: sa.Connection, subject: str) -> str:
    """Who asked for the deletion that the last operation on a server had to give way to."""
    for last in workflow.operations(conn, subject, limit=1):
        if last.abort_reason == _ENDS:
            return last.abort_by or ""
    return ""


class _ServerGrant:
    """Right by a server, for its tickets."""

    def __init__(self, compute: Compute, still: Still) -> None:
        self._compute = compute
        self.still = still

    def good(self, conn: sa.Connection, ticket: ConsoleTicket, caller: Caller) -> bool:
        """The server has that machine, nobody takes it down, and the caller may see its console."""
        compute = self._compute
        server = store.find_server(conn, ticket.holder)
        if server is None or not compute.sees(caller, server):
            return False
        target = {"project_id": server.project_id, "user_id": server.user_id}
        return (
            server.node_uuid == ticket.node
            and server.task_state != states.DELETING
            and compute.has_machine(conn, server)
            and compute.policy.allows("os_compute_api:os-remote-consoles", caller, target)
        )
