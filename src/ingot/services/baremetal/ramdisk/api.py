"""What a booting machine may reach: boot scripts, boot files, lookup, heartbeat, inspection data.

These operations carry no token of a user, by design of the Bare Metal API, so they are served on the
provisioning listener only (and on the API listener where the operator says so). What protects them: a
lookup is answered only while an operation of ours runs on the node, no token is given out once the agent of
this boot has called (`agenttokens.py`), a heartbeat needs one, and nothing else that is secret is in any reply.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ingot.drivers.machine.agent.client import AgentAddress
from ingot.kit import ids, log
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.api.versions import Version
from ingot.kit.db.database import IntegrityError, after_commit, to_json, when
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.kit.http.egress import Egress
from ingot.kit.http.files import send_file
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import plan as boot_plan
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.inspection.facts import facts_of
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.derived import boot_mode, controller_host
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.ramdisk import tokens as agent_tokens
from ingot.services.baremetal.types import Agent, Node
from ingot.services.baremetal.workflows import booting
from ingot.services.baremetal.workflows.node_task import Deps
from ingot.workflow import live_operation, signal

_log = log.get("ramdisk")

#: What the agent is told: seconds between heartbeats at the most.
HEARTBEAT_SECONDS = 300
#: Addresses in a lookup: a machine's own.
MOST_ADDRESSES = 256
#: Of an inspection's, in the log.
_TOLD_ADDRESSES = 8
#: So long may firmware take from power-on to the first question what to boot.
START_SECONDS = 1800
_UNKNOWN = "Lookup did not find a node that expects an agent."


_Word = Annotated[str, msgspec.Meta(max_length=255)]


class HeartbeatBody(msgspec.Struct):
    callback_url: str
    node_ident: _Word | None = None
    agent_token: _Word | None = None
    agent_version: _Word | None = None
    #: A certificate, or a few.
    agent_verify_ca: Annotated[str, msgspec.Meta(max_length=1 << 15)] | None = None
    agent_status: _Word | None = None
    agent_status_message: str | None = None


_HEARTBEAT_SINCE = {
    "agent_version": 36,
    "agent_verify_ca": 68,
    "agent_status": 72,
    "agent_status_message": 72,
}


class LookupQuery(msgspec.Struct):
    addresses: list[str] | None = None
    node_uuid: str | None = None


class BootQuery(msgspec.Struct):
    """unknown: "exit" for a script, instead of 404, for machines that nobody has enrolled."""

    unknown: str = ""


class InspectionQuery(msgspec.Struct):
    node_uuid: str | None = None


@dataclass(frozen=True)
class RamdiskFiles:
    """Files that machines fetch: name in `/files/<name>` -> path."""

    paths: dict[str, Path]


@dataclass(frozen=True)
class _InspectionMessage:
    """An inspection's message: addresses of cards and controllers, and its JSON as it is kept."""

    macs: list[str]
    controllers: list[str]
    logs: bool
    inventory: str
    data: str


#: What an agent is told instead of a token that has been given out.
_MASKED = "******"

#: How the token of a node's agent is read, with a lock or without.
TokenOf = Callable[[sa.Connection, str], tuple[str | None, str | None] | None]


class RamdiskApi:
    """The operations of the provisioning listener."""

    def __init__(
        self,
        deps: Deps,
        files: RamdiskFiles,
        *,
        require_tls: bool = True,
        egress: Egress | None = None,
    ) -> None:
        self._deps = deps
        self._files = files
        self._require_tls = require_tls
        self._egress = egress or Egress()
        self._checks: set[asyncio.Task[None]] = set()

    def operations(self) -> list[Operation]:
        """Rows for a listener of its own, at its root; discovery is the Bare Metal API's own."""
        return [
            Operation("GET", "/boot.ipxe", self.first_script, rule=None),
            Operation("GET", "/boot/{mac}", self.boot_script, rule=None, query=BootQuery),
            Operation("GET", "/files/{name}", self.file, rule=None),
            *self.agent_operations(),
        ]

    def agent_operations(self) -> list[Operation]:
        """The three that belong to the Bare Metal API itself."""
        return [
            Operation("GET", "/v1/lookup", self.lookup, rule=None, since=22, query=LookupQuery),
            *(
                Operation(
                    "POST",
                    path,
                    self.heartbeat,
                    rule=None,
                    since=22,
                    status=202,
                    body=HeartbeatBody,
                )
                for path in ("/v1/heartbeat", "/v1/heartbeat/{id}")
            ),
            Operation(
                "POST",
                "/v1/continue_inspection",
                self.continue_inspection,
                rule=None,
                status=202,
                body=dict[str, Any],
                query=InspectionQuery,
                max_body=self._deps.inspection.bounds.octets,
                max_values=self._deps.inspection.bounds.values,
            ),
        ]

    # -- boot --------------------------------------------------------------------------------

    async def first_script(self, _call: Call) -> Reply:
        text = boot_plan.first_script(self._deps.urls.base)
        return Reply(text.encode(), content_type="text/plain")

    async def boot_script(self, call: Call) -> Reply:
        """The machine's own script; for cards that nobody has enrolled 404, or a script when that is asked for."""
        mac = ids.normal_mac(call.params["mac"])
        if mac is None:
            raise Invalid("That is no MAC address.")
        try:
            text = await self._script_of(mac)
        except Missing:
            # Firmware cannot tell that from nobody's answer; where it goes on at once it has to be told by a script.
            if call.query.unknown != "exit":
                raise
            text = boot_plan.nobodys_script()
        except (Fault, OSError, DBAPIError) as error:
            if isinstance(error, Fault) and error.kind is not Kind.UNAVAILABLE:
                raise
            # Firmware that is refused goes on to its next device, and many halt there: let it ask again.
            _log.warning("boot script: the database does not answer", mac=mac, error=repr(error))
            text = boot_plan.wait("the database does not answer", mac, self._deps.urls)
        return Reply(text.encode(), content_type="text/plain")

    async def _script_of(self, mac: str) -> str:
        node = await self._deps.db.read(lambda conn: _node_of_mac(conn, mac))
        if node is None:
            raise Missing(f"No node has a port with the address {mac}.")
        intent = boot_plan.intent_of(node.boot_intent)
        for_agent = intent is not None and intent.boot == "agent" and not intent.media
        old = await self._deps.db.write(lambda conn: self._seen(conn, node.uuid, mac, for_agent))
        if old is not None:
            # Before the answer: the new agent must not meet the old one's row.
            await self._forget_dead_agent(node, old)
        text = await self._script(node.uuid, intent, mac, _mode_of(node))
        _log.info("boot script", node=node.uuid, mac=mac, boots=intent.boot if intent else "disk")
        return text

    async def _script(
        self, node: str, intent: boot_plan.Intent | None, mac: str, mode: str | None
    ) -> str:
        try:
            if intent is not None and not intent.media:
                intent = await booting.located(self._deps, node, intent)
        except Fault as fault:
            return boot_plan.wait(fault.text, mac, self._deps.urls)
        return boot_plan.script(intent, mac, mode, self._deps.urls)

    def _seen(self, conn: sa.Connection, uuid: str, mac: str, for_agent: bool) -> Agent | None:
        """Write down that the machine starts, and whether anybody had started it; gives the agent it had.

        A machine that starts unasked may have been restarted by its user, or by the controller of another
        node whose cable it is on: `proofs.strangers` looks at it when that node's machine is missing.
        """
        node = store.lock_node(conn, uuid)
        if node is None:
            return None
        facts: dict[str, Any] = {"boot_seen_at": self._deps.now()} if for_agent else {}
        live = live_operation(conn, node.subject)
        if live is None and not _just_started(node, self._deps.clock.now()):
            facts |= {"unasked_boot_at": self._deps.now(), "unasked_boot_mac": mac}
        store.update_node(conn, uuid, started_at=None, **facts)
        return agent_store.get_agent(conn, self._deps.vault, uuid) if for_agent else None

    async def _forget_dead_agent(self, node: Node, agent: Agent) -> None:
        """A machine that boots the agent anew needs a new token.

        Whoever only pretends to boot must not get one while the real agent lives: so it is asked first. One that
        has not called yet keeps its token: until then whoever looks up is given another one (`agenttokens`).
        """
        if not agent.token or not agent.url:
            return
        token = agent.token
        address = AgentAddress(agent.url, agent.token, agent.verify_ca)
        try:
            async with asyncio.timeout(3):
                await self._deps.agents.status(address)
            return
        except (Fault, TimeoutError):
            pass
        gone = await self._deps.db.write(
            lambda conn: agent_store.forget_this_agent(conn, self._deps.vault, node.uuid, token)
        )
        if gone:
            _log.info("the machine boots anew; its old agent is forgotten", node=node.uuid)

    def dhcp_said(self, mac: str, what: str, text: str) -> None:
        """DHCP's own words about a machine, into the timeline of whatever runs on its node."""
        task = asyncio.ensure_future(self._note_dhcp(mac, what, text))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _note_dhcp(self, mac: str, what: str, text: str) -> None:
        def note(conn: sa.Connection) -> None:
            node = _node_of_mac(conn, mac)
            live = live_operation(conn, node.subject) if node is not None else None
            if node is not None and live is not None:
                events.record(
                    conn,
                    node.subject,
                    "note",
                    f"DHCP: {text}",
                    operation_id=live.id,
                    data={"mac": mac, "what": what},
                    project_id=live.project_id,
                )

        await self._deps.db.write(note)

    async def file(self, call: Call) -> Reply:
        path = self._files.paths.get(call.params["name"])
        if path is None:
            raise Missing("There is no such boot file.")
        return await send_file(call, path)

    # -- lookup ------------------------------------------------------------------------------

    async def lookup(self, call: Call) -> Reply:
        query: LookupQuery = call.query
        addresses = [ids.normal_mac(text) for text in query.addresses or []]
        known = [mac for mac in addresses if mac]
        if not known and not query.node_uuid:
            raise Invalid("Lookup needs valid MAC addresses or a node_uuid.")
        if len(known) > MOST_ADDRESSES:
            raise Invalid(f"Lookup takes at most {MOST_ADDRESSES} addresses.")
        # Agents ask again and again; once one has called, questions change nothing.
        node, has_token, _ = await self._deps.db.read(
            lambda conn: self._look_up(conn, known, query.node_uuid)
        )
        token = _MASKED
        if not has_token:
            node, token = await self._give_token(known, query.node_uuid)
        _log.info("lookup", node=node.uuid, first=token != _MASKED)
        return Reply(_lookup_reply(node, token, call.base_url, self._deps.install_boot_loaders))

    async def _give_token(self, macs: list[str], node_uuid: str | None) -> tuple[Node, str]:
        try:
            return await self._deps.db.write(lambda conn: self._first(conn, macs, node_uuid))
        except IntegrityError:
            # Another question of the same machine was the first one: now it is seen.
            return await self._deps.db.write(lambda conn: self._first(conn, macs, node_uuid))

    def _look_up(
        self,
        conn: sa.Connection,
        macs: list[str],
        node_uuid: str | None,
        token_of: TokenOf = agent_store.token_and_url,
    ) -> tuple[Node, bool, bool]:
        """The node, whether its agent of this boot has its token for good, and whether it was given any."""
        found = store.nodes_by_addresses(conn, macs) if macs else ()
        ident = node_uuid or (found[0] if len(found) == 1 else None)
        node = store.find_node(conn, ident) if ident else None
        if node is None or node.provision_state not in states.AGENT_STATES:
            # One answer for all reasons: an unauthenticated caller learns nothing of the inventory.
            raise Missing(_UNKNOWN)
        token_hash, url = token_of(conn, node.uuid) or ("", "")
        if not token_hash or url:
            return node, bool(token_hash), bool(token_hash)
        # On a medium it travels by itself, and nobody on the network is given one.
        last = _by_medium(node) or agent_tokens.all_given(conn, self._deps.vault, node.uuid)
        return node, last, True

    def _first(
        self, conn: sa.Connection, macs: list[str], node_uuid: str | None
    ) -> tuple[Node, str]:
        """A new token until the agent has called; masked ever after."""
        node, has_token, begun = self._look_up(
            conn, macs, node_uuid, agent_store.token_and_url_locked
        )
        if has_token:
            return node, _MASKED
        vault = self._deps.vault
        if not begun:
            return node, agent_tokens.begin(conn, vault, node.uuid)
        return node, agent_tokens.give_another(conn, vault, node.uuid) or _MASKED

    # -- heartbeat ---------------------------------------------------------------------------

    async def heartbeat(self, call: Call) -> Reply:
        body: HeartbeatBody = call.body
        ident = call.params.get("id") or body.node_ident
        if not ident:
            raise Invalid("Missing mandatory parameter: node_ident")
        for name, since in _HEARTBEAT_SINCE.items():
            if getattr(body, name) and call.version.minor < since:
                raise Invalid(f'Field "{name}" not recognised in this version.')
        self._check_callback(body.callback_url)
        if not body.agent_token:
            raise Invalid("Agent token is required.")
        if not body.agent_version and call.version >= Version(1, 36):
            raise Invalid("agent_version is required.")
        await self._deps.db.write(lambda conn: self._beat(conn, ident, body))
        return Reply()

    def _check_callback(self, url: str) -> None:
        parts = self._egress.url(url, "callback_url")
        if "@" in parts.netloc:
            raise Invalid("callback_url names an agent, which has no users.")
        if self._require_tls and parts.scheme != "https":
            raise Invalid("The agent must offer its callback over https.")

    def _beat(self, conn: sa.Connection, ident: str, body: HeartbeatBody) -> None:
        """One row and a wake-up. Whoever has no token learns nothing: not even which names and uuids there are."""
        uuid = ident
        row = agent_store.token_and_url_locked(conn, uuid) if ids.is_uuid(ident) else None
        if row is None:  # a name, or spelt otherwise
            node = store.find_node(conn, ident)
            uuid = node.uuid if node is not None else ""
            row = agent_store.token_and_url_locked(conn, uuid)
        token_hash, url = row or ("", "")
        given = agent_store.token_hash(body.agent_token or "")
        known = row is not None and hmac.compare_digest(token_hash or "", given)
        if row is not None and not known and not url:
            vault, token = self._deps.vault, body.agent_token or ""
            known = agent_tokens.accept(conn, vault, uuid, token)
        if not known:
            raise Invalid("The agent token is not this node's.")
        if url and url != body.callback_url:
            raise Invalid("The callback URL differs from the one that the agent gave before.")
        facts = {
            "url": body.callback_url,
            "version": body.agent_version,
            "verify_ca": body.agent_verify_ca,
            "last_heartbeat": self._deps.now(),
        }
        agent_store.agent_called(conn, uuid, facts)
        # Only the newest call counts: heartbeats of hours must not pile up.
        signal(conn, f"node:{uuid}", "agent", {"version": body.agent_version}, latest=True)

    # -- inspection --------------------------------------------------------------------------

    async def continue_inspection(self, call: Call) -> Reply:
        data: dict[str, Any] = call.body
        facts = facts_of(data)
        self._deps.inspection.bounds.check(facts)
        macs, addresses = facts.macs(), facts.bmc_addresses()
        if not (macs or addresses or call.query.node_uuid):
            raise Invalid("The inspection data names no MAC and no controller address.")
        has_logs = bool(data.pop("logs", None))
        # Megabytes: not while the database waits.
        message = _InspectionMessage(
            macs, addresses, has_logs, to_json(data.get("inventory") or {}), to_json(data)
        )
        node = await self._deps.db.write(
            lambda conn: self._take(conn, message, call.query.node_uuid)
        )
        return Reply({"uuid": node.uuid})

    def _take(
        self, conn: sa.Connection, message: _InspectionMessage, node_uuid: str | None
    ) -> Node:
        macs = message.macs
        found = store.nodes_by_addresses(conn, macs) if macs else ()
        ident = node_uuid or (found[0] if len(found) == 1 else None)
        node = store.find_node(conn, ident) if ident else None
        if node is None and not found:
            node = _by_controller(conn, message.controllers)
        # A quick machine may be ready before the operation has noted that it waits.
        if node is None or node.provision_state not in (states.INSPECTWAIT, states.INSPECTING):
            raise Missing(_UNKNOWN)
        now = self._deps.now()
        inventories.save_inventory_texts(conn, node.uuid, now, message.inventory, message.data)
        signal(
            conn, node.subject, "inspection data", {"logs": message.logs, "macs": macs}, latest=True
        )
        shown = macs[:_TOLD_ADDRESSES]
        after_commit(
            conn,
            lambda: _log.info("inspection data", node=node.uuid, macs=shown, cards=len(macs)),
        )
        return node


def _by_controller(conn: sa.Connection, addresses: list[str]) -> Node | None:
    """The one node without ports that is being inspected and whose controller has such an address."""
    waiting = store.portless_nodes_in(conn, states.INSPECTWAIT)
    found = [node for node in waiting if controller_host(node) in addresses]
    return found[0] if len(found) == 1 else None


def _by_medium(node: Node) -> bool:
    """Whether the agent boots from a medium that carries its token."""
    intent = boot_plan.intent_of(node.boot_intent)
    return bool(intent is not None and intent.media and intent.boot == "agent" and not intent.iso)


def _just_started(node: Node, moment: datetime) -> bool:
    """Whether we switched it on a while ago, and this is the first time it asks since."""
    started = when(node.started_at)
    return started is not None and moment - started < timedelta(seconds=START_SECONDS)


def _node_of_mac(conn: sa.Connection, mac: str) -> Node | None:
    port = store.port_by_address(conn, mac)
    return None if port is None else store.find_node(conn, port.node_uuid)


def _mode_of(node: Node) -> str | None:
    mode = boot_mode(node)
    return str(mode) if mode else None


def _lookup_reply(
    node: Node, token: str, base_url: str, install_boot_loaders: bool
) -> dict[str, Any]:
    """The node as the agent needs it, and how it shall behave."""
    instance_info = {k: v for k, v in node.instance_info.items() if not log.is_secret(k)}
    return {
        "node": {
            "uuid": node.uuid,
            "properties": node.properties,
            "instance_info": instance_info,
            "driver_internal_info": {},
            "links": [{"href": f"{base_url}/v1/nodes/{node.uuid}", "rel": "self"}],
        },
        "config": {
            "metrics": {
                "backend": "noop",
                "prepend_host": False,
                "prepend_uuid": False,
                "prepend_host_reverse": True,
                "prepend_prefix": None,
            },
            "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125},
            "heartbeat_timeout": HEARTBEAT_SECONDS,
            "agent_token": token,
            "agent_token_required": True,
            "agent_md5_checksum_enable": False,
            "disable_deep_image_inspection": False,
            "permitted_image_formats": ["raw", "qcow2", "gpt"],
            "agent_skip_bmc_detect": False,
            "enable_bios_bootloader_install": install_boot_loaders,
        },
    }
