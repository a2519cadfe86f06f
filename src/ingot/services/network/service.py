"""The verbs of the network service. Functions of a connection run inside the caller's transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import Clock
from ingot.services.network import groups, ipam, quota_store, store, tables
from ingot.services.network.dhcp_state import DhcpState
from ingot.services.network.faults import conflict, invalid, missing
from ingot.services.network.netdata import network_data
from ingot.services.network.policies import RULES
from ingot.services.network.quotas import QuotaCounters
from ingot.services.network.types import (
    BASE_MAC,
    FixedIp,
    Network,
    NetworkSettings,
    Port,
    SecurityGroup,
    Subnet,
)
from ingot.services.server_events import UNTOLD, ServerEvents

if TYPE_CHECKING:
    pass

UNBOUND = "unbound"
#: What a bare-metal port is bound as: the switch side is none of the host's business.
BOUND = "other"


class Networks(QuotaCounters, DhcpState):
    """The Network service. `conn` is always the caller's connection; reads may use any, changes a transaction."""

    def __init__(
        self, db: Database, clock: Clock, settings: NetworkSettings, servers: ServerEvents = UNTOLD
    ) -> None:
        super().__init__(db, clock, settings)
        self._servers = servers
        self.policy = Policy(RULES, settings.policy)
        self._places: dict[str, int] = {}

    # -- finding -----------------------------------------------------------------------------------

    def find_network(
        self, conn: sa.Connection, name_or_id: str, project_id: str | None = None
    ) -> Network:
        """The network with this id or name. project_id: only what that project may see. 404, or 409
        when several have the name."""
        table = tables.networks
        seen: list[store.Where] = []
        if project_id is not None:
            seen.append(sa.or_(table.c.project_id == project_id, table.c.shared, table.c.external))
        if ids.is_uuid(name_or_id):
            found = store.get(conn, store.NETWORKS, name_or_id, *seen)
            if found is not None:
                return found
        if seen:
            named = store.select(conn, store.NETWORKS, table.c.name == name_or_id, *seen, limit=2)
        else:
            named = store.having(conn, store.NETWORKS, "name", name_or_id)
        if not named:
            raise missing("Network", name_or_id)
        if len(named) > 1:
            raise conflict(
                "NetworkNameNotUnique",
                f"Several networks have the name {name_or_id!r}.",
                "Use the network's id.",
            )
        return named[0]

    def get_network(self, conn: sa.Connection, network_id: str) -> Network:
        found = store.get(conn, store.NETWORKS, network_id)
        if found is None:
            raise missing("Network", network_id)
        return found

    def networks(self, conn: sa.Connection, project_id: str | None = None) -> list[Network]:
        """All networks, or those that a project may use (its own and shared ones)."""
        table = tables.networks
        usable = sa.or_(table.c.project_id == project_id, table.c.shared)
        return store.select(conn, store.NETWORKS, *(() if project_id is None else (usable,)))

    def subnets_of(self, conn: sa.Connection, network_id: str) -> list[Subnet]:
        return store.having(conn, store.SUBNETS, "network_id", network_id)

    def get_subnet(self, conn: sa.Connection, subnet_id: str) -> Subnet:
        found = store.get(conn, store.SUBNETS, subnet_id)
        if found is None:
            raise missing("Subnet", subnet_id)
        return found

    def get_port(self, conn: sa.Connection, port_id: str) -> Port:
        found = store.get(conn, store.PORTS, port_id)
        if found is None:
            raise missing("Port", port_id)
        return found

    def reach(self, caller: Caller) -> str | None:
        """The project whose ports a caller may put on machines ("" for nobody's); None for everyone's."""
        return None if self.policy.allows("use_any_port", caller) else caller.project_id or ""

    def may_choose_address(self, caller: Caller, network: Network) -> bool:
        """Whether a caller may say which address a port gets there: on shared networks only their owners may."""
        target = {"project_id": caller.project_id, "network_project_id": network.project_id}
        return self.policy.allows("create_port:ip_address", caller, target)

    def find_port(
        self,
        conn: sa.Connection,
        port_id: str,
        project_id: str | None,
        *,
        host_id: str | None = None,
    ) -> Port:
        """A port for the machine `host_id`: this project's own (None: anyone's), and bound to no other machine.

        404 for somebody else's as for none, 409 while it is bound elsewhere.
        """
        own = () if project_id is None else (tables.ports.c.project_id == project_id,)
        found = store.get(conn, store.PORTS, port_id, *own)
        if found is None:
            raise missing("Port", port_id)
        if host_id is not None:
            _check_place(found, host_id)
        return found

    def ports(self, conn: sa.Connection, port_ids: Sequence[str]) -> list[Port]:
        """Those of some ports that are there, in this order."""
        return store.those(conn, store.PORTS, port_ids)

    def ports_of_device(self, conn: sa.Connection, device_id: str) -> list[Port]:
        return store.having(conn, store.PORTS, "device_id", device_id)

    def network_data(
        self, conn: sa.Connection, port_ids: Sequence[str], *, static: bool = False
    ) -> dict[str, Any]:
        """network_data.json of these ports, in their order: links, networks, services.

        static: tell addresses also where DHCP would give them.
        """
        ports = [self.get_port(conn, port_id) for port_id in port_ids]
        nets = {id: self.get_network(conn, id) for id in {port.network_id for port in ports}}
        subnets = {
            ip.subnet_id: self.get_subnet(conn, ip.subnet_id)
            for port in ports
            for ip in port.fixed_ips
        }
        return network_data(ports, nets, subnets, static=static)

    # -- networks ----------------------------------------------------------------------------------

    def create_network(
        self,
        conn: sa.Connection,
        *,
        project_id: str,
        name: str = "",
        network_type: str = "flat",
        physical_network: str | None = None,
        shared: bool = False,
        external: bool = False,
        mtu: int | None = None,
        **others: Any,
    ) -> Network:
        """A flat provider network. physical_network: must be a wire of its own."""
        if network_type != "flat":
            raise invalid(
                "InvalidInput",
                f"Network type {network_type!r} is not supported.",
                "Use provider:network_type flat.",
            )
        if not physical_network:
            quota_store.count(conn, project_id)  # which is locked before the touch, as everywhere
            self.touch(conn)
            physical_network = self._free_wire(conn)
        self._check_wire(conn, physical_network)
        values: dict[str, Any] = {
            "project_id": project_id,
            "name": name,
            "description": "",
            "admin_state_up": True,
            "shared": shared,
            "external": external,
            "is_default": False,
            "mtu": mtu or self.settings.default_mtu,
            "network_type": network_type,
            "physical_network": physical_network,
            "segmentation_id": None,
            "port_security_enabled": True,
            "availability_zone_hints": [],
            "tags": [],
            **others,
        }
        made = store.insert(conn, store.NETWORKS, self.now(), values)
        self.touch(conn, "", project_id, network=1)
        return made

    def _free_wire(self, conn: sa.Connection) -> str:
        column = tables.networks.c.physical_network
        used = set(conn.execute(sa.select(column)).scalars())
        for name in self.settings.wires:
            if name not in used:
                return name
        raise conflict(
            "NoNetworkAvailable",
            "Unable to create the network. No physical network is free: a flat network needs one of its own.",
            "Use an existing network, or add a physical network to the settings.",
        )

    def _check_wire(self, conn: sa.Connection, physical_network: str) -> None:
        if store.count(
            conn, store.NETWORKS, tables.networks.c.physical_network == physical_network
        ):
            raise conflict(
                "FlatNetworkInUse",
                f"Unable to create the flat network. Physical network {physical_network} is in use.",
            )

    def update_network(
        self, conn: sa.Connection, network_id: str, changes: Mapping[str, Any]
    ) -> Network:
        wire = changes.get("physical_network")
        if wire is not None and wire != self.get_network(conn, network_id).physical_network:
            self._check_wire(conn, wire)
        changed = store.update(conn, store.NETWORKS, self.now(), network_id, changes)
        self.touch(conn)
        return changed

    def delete_network(self, conn: sa.Connection, network_id: str) -> None:
        """Delete a network with its subnets; 409 while it has ports."""
        store.lock_network(conn, network_id)
        if store.count(conn, store.PORTS, tables.ports.c.network_id == network_id):
            raise conflict(
                "NetworkInUse",
                f"Unable to complete operation on network {network_id}. "
                "There are one or more ports still in use on the network.",
                "Delete its ports first.",
            )
        here = tables.subnets.c.network_id == network_id
        gone = store.delete_all(conn, store.SUBNETS, here)
        owner = store.delete(conn, store.NETWORKS, network_id)
        for project_id in sorted({*gone, *((owner,) if owner else ())}):
            networks = -1 if project_id == owner else 0
            quota_store.count(conn, project_id, network=networks, subnet=-gone[project_id])
        self.touch(conn)

    # -- subnets -----------------------------------------------------------------------------------

    def create_subnet(
        self,
        conn: sa.Connection,
        *,
        network_id: str,
        project_id: str,
        cidr: str,
        gateway_ip: str | None = None,
        default_gateway: bool = True,
        allocation_pools: Sequence[tuple[str, str]] | None = None,
        **others: Any,
    ) -> Subnet:
        """A subnet. No gateway_ip means the first host address, unless default_gateway is false."""
        store.lock_network(conn, network_id)
        parsed = ipam.network(cidr)
        self._check_overlap(conn, network_id, parsed)
        gateway = None if gateway_ip is None else ipam.address(gateway_ip, "gateway address")
        plan = ipam.make_range(
            parsed, gateway, default_gateway=default_gateway, pools=allocation_pools
        )
        values: dict[str, Any] = {
            "project_id": project_id,
            "network_id": network_id,
            "name": "",
            "description": "",
            "ip_version": parsed.version,
            "cidr": str(parsed),
            "gateway_ip": None if plan.gateway is None else str(plan.gateway),
            "enable_dhcp": True,
            "allocation_pools": plan.pools_wire(),
            "dns_nameservers": [],
            "host_routes": [],
            "tags": [],
            **others,
        }
        made = store.insert(conn, store.SUBNETS, self.now(), values)
        self.touch(conn, "", project_id, subnet=1)
        return made

    def _check_overlap(self, conn: sa.Connection, network_id: str, cidr: ipam.Cidr) -> None:
        for other in self.subnets_of(conn, network_id):
            known = ipam.network(other.cidr)
            if known.version == cidr.version and known.overlaps(cidr):  # pyright: ignore[reportArgumentType]
                raise invalid(
                    "InvalidInput",
                    f"Requested subnet with cidr: {cidr} for network: {network_id} overlaps with "
                    f"another subnet: {other.cidr} (ID: {other.id}).",
                )

    def update_subnet(
        self, conn: sa.Connection, subnet: Subnet, changes: Mapping[str, Any]
    ) -> Subnet:
        """Change a subnet; gateway and pools (wire form) are checked against each other again."""
        store.lock_network(conn, subnet.network_id)
        values = dict(changes)
        if "gateway_ip" in values or "allocation_pools" in values:
            gateway = values.get("gateway_ip", subnet.gateway_ip)
            pools = values.get("allocation_pools", subnet.allocation_pools)
            plan = ipam.make_range(
                ipam.network(subnet.cidr),
                None if gateway is None else ipam.address(gateway, "gateway address"),
                default_gateway=False,
                pools=[(pool["start"], pool["end"]) for pool in pools],
            )
            values["gateway_ip"] = None if plan.gateway is None else str(plan.gateway)
            values["allocation_pools"] = plan.pools_wire()
        changed = store.update(conn, store.SUBNETS, self.now(), subnet.id, values)
        self.touch(conn)
        return changed

    def delete_subnet(self, conn: sa.Connection, subnet: Subnet) -> None:
        store.lock_network(conn, subnet.network_id)
        if store.port_count_of_subnet(conn, subnet.id):
            raise conflict(
                "SubnetInUse",
                f"Unable to complete operation on subnet {subnet.id}: One or more ports have an "
                "IP allocation from this subnet.",
                "Delete these ports first.",
            )
        if (owner := store.delete(conn, store.SUBNETS, subnet.id)) is not None:
            quota_store.count(conn, owner, subnet=-1)
        self.touch(conn)

    # -- ports -------------------------------------------------------------------------------------

    def create_port(
        self,
        conn: sa.Connection,
        *,
        network_id: str,
        project_id: str,
        mac: str | None = None,
        fixed_ips: Sequence[Mapping[str, str]] | None = None,
        device_id: str = "",
        device_owner: str = "",
        name: str = "",
        host_id: str | None = None,
        locked: bool = False,
        **others: Any,
    ) -> Port:
        """A port with its addresses.

        mac: made up when None. fixed_ips: requests {"subnet_id", "ip_address"}; None gives one address of
        each IP version that the network has. host_id: bound at once as a bare-metal port. locked: the network is.
        Raises 404 (network), 400 (requests), 409 (address or MAC in use, pool exhausted).
        """
        if not locked:
            store.lock_network(conn, network_id)
        requests = None if fixed_ips is None else [ipam.request_of(item) for item in fixed_ips]
        given = self._allocate(conn, network_id, requests)
        bound = bool(host_id)
        values: dict[str, Any] = {
            "project_id": project_id,
            "network_id": network_id,
            "name": name,
            "description": "",
            "mac_address": self._mac(conn, network_id, mac),
            "admin_state_up": True,
            "device_id": device_id,
            "device_owner": device_owner,
            "host_id": host_id or "",
            "vnic_type": "baremetal" if bound else "normal",
            "vif_type": BOUND if bound else UNBOUND,
            "profile": {},
            "port_security_enabled": True,
            "security_groups": [],
            "allowed_address_pairs": [],
            "tags": [],
            **others,
        }
        made = store.insert(conn, store.PORTS, self.now(), values)
        store.add_fixed_ips(conn, made.id, given)
        self.touch(conn, made.id, project_id, port=1)
        return replace(made, fixed_ips=given)

    def _allocate(
        self,
        conn: sa.Connection,
        network_id: str,
        requests: Sequence[ipam.AddressRequest] | None,
        own: Sequence[FixedIp] = (),
    ) -> tuple[FixedIp, ...]:
        """Addresses by the pure rules; our own DHCP server's address is never given away."""
        subnets = self.subnets_of(conn, network_id)
        ours = {wire.listen_address for wire in self.settings.wires.values()}
        kept = {ip.ip_address for ip in own}
        taken = {subnet.id: store.Taken(conn, subnet.id, ours, kept) for subnet in subnets}
        return ipam.allocate(network_id, subnets, requests, taken, self._places)

    def update_port(self, conn: sa.Connection, port: Port, changes: Mapping[str, Any]) -> Port:
        """Change a port. `fixed_ips` are requests, `mac_address` None makes a new one up."""
        store.lock_network(conn, port.network_id)
        return self.change_port(conn, port, changes)

    def _held(self, conn: sa.Connection, port_id: str) -> Port:
        """A port as nobody else changes it until this transaction ends, whatever its isolation."""
        store.lock_port(conn, port_id)
        return self.get_port(conn, port_id)

    def change_port(self, conn: sa.Connection, port: Port, changes: Mapping[str, Any]) -> Port:
        """As `update_port`, of a network that is locked."""
        values, ips = dict(changes), tuple(port.fixed_ips)
        if "fixed_ips" in values:
            requests = ipam.keeping(
                [ipam.request_of(item) for item in values.pop("fixed_ips") or ()], ips
            )
            ips = self._allocate(conn, port.network_id, requests, own=ips)
            store.set_fixed_ips(conn, port.id, ips)
        if "mac_address" in values and values["mac_address"] != port.mac_address:
            values["mac_address"] = self._mac(conn, port.network_id, values["mac_address"])
        if "host_id" in values:
            values["vif_type"] = BOUND if values["host_id"] else UNBOUND
        changed = store.update(conn, store.PORTS, self.now(), port.id, values, fixed_ips=ips)
        self.touch(conn, port.id)
        moved = changed.mac_address != port.mac_address or changed.fixed_ips != port.fixed_ips
        if moved and changed.device_id and changed.device_owner.startswith("compute:"):
            self._servers.tell(conn, "network-changed", changed.device_id, changed.id)
        return changed

    def bind_port(
        self,
        conn: sa.Connection,
        port_id: str,
        *,
        host_id: str,
        mac: str,
        profile: Mapping[str, Any] | None = None,
        device_id: str | None = None,
    ) -> Port:
        """Make a port the VIF of a machine's NIC: it takes the NIC's MAC, and DHCP answers it.

        profile: the binding profile, such as {"local_link_information": [...]}. Again with the same values
        changes nothing. 409 PortBound while another machine has it, MacAddressInUse when another port of the network
        has the MAC.
        """
        port = self._held(conn, port_id)
        _check_place(port, host_id)
        values: dict[str, Any] = {
            "host_id": host_id,
            "mac_address": mac,
            "vnic_type": "baremetal",
            "profile": dict(profile or {}),
        }
        if device_id is not None:
            values["device_id"] = device_id
        if port.bound and all(getattr(port, name) == value for name, value in values.items()):
            return port
        return self.change_port(conn, port, values)

    def claim_port(
        self, conn: sa.Connection, port_id: str, *, device_id: str, device_owner: str
    ) -> Port:
        """Give a port to a device; 409 while it is another one's."""
        port = self._held(conn, port_id)
        if port.device_id and port.device_id != device_id:
            raise conflict("PortInUse", f"Port {port_id} is still in use.", "Use another port.")
        values = {"device_id": device_id, "device_owner": device_owner}
        return self.change_port(conn, port, values)

    def unbind_port(self, conn: sa.Connection, port_id: str, *, host_id: str | None = None) -> Port:
        """Take a port off its machine: the NIC's MAC is free again, the addresses stay the port's.

        host_id: only off this machine; a port that another one has stays as it is.
        """
        port = self._held(conn, port_id)
        if not port.bound or (host_id is not None and port.host_id != host_id):
            return port
        values: dict[str, Any] = {"host_id": "", "profile": {}, "mac_address": None}
        return self.change_port(conn, port, values)

    def delete_port(self, conn: sa.Connection, port_id: str) -> None:
        """Delete a port and free its addresses; a port that is gone already is fine."""
        owner = store.delete(conn, store.PORTS, port_id)
        self.touch(conn, port_id, owner, port=-1)

    def _mac(self, conn: sa.Connection, network_id: str, wanted: str | None) -> str:
        """A MAC that is free on the network: the wanted one, or one made up."""
        if wanted is not None:
            mac = ids.normal_mac(wanted)
            if mac is None or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
                raise invalid(
                    "InvalidInput", f"{wanted!r} is not a valid MAC address of one machine."
                )
            if store.has_mac(conn, network_id, mac):
                raise conflict(
                    "MacAddressInUse",
                    f"Unable to complete operation for network {network_id}. "
                    f"The mac address {mac} is in use.",
                )
            return mac
        while True:
            tail = secrets.token_bytes(3)
            mac = ":".join([BASE_MAC, *(f"{octet:02x}" for octet in tail)])
            if not store.has_mac(conn, network_id, mac):
                return mac

    # -- bootstrap ---------------------------------------------------------------------------------

    def ensure_flat_network(
        self,
        conn: sa.Connection,
        name: str,
        physical_network: str,
        cidr: str,
        pool: tuple[str, str] | None,
        gateway: str | None,
        dns: Sequence[str],
        *,
        project_id: str,
        shared: bool = True,
    ) -> Network:
        """The network on a wire with one subnet, made when missing; an existing one is left as it is."""
        table = tables.networks
        known = store.select(
            conn, store.NETWORKS, table.c.physical_network == physical_network, limit=1
        )
        network = (
            known[0]
            if known
            else self.create_network(
                conn,
                project_id=project_id,
                name=name,
                physical_network=physical_network,
                shared=shared,
            )
        )
        if not network.subnets:
            self.create_subnet(
                conn,
                network_id=network.id,
                project_id=project_id,
                cidr=cidr,
                gateway_ip=gateway,
                default_gateway=False,
                allocation_pools=None if pool is None else [pool],
                name=f"{name}-v{ipam.network(cidr).version}",
                dns_nameservers=list(dns),
            )
        return self.get_network(conn, network.id)

    def ensure_default_group(self, conn: sa.Connection, project_id: str) -> str:
        """The id of a project's default security group, made at its first use."""
        return groups.hold_default(conn, self.now(), project_id)

    def find_group(self, conn: sa.Connection, project_id: str, ident: str) -> SecurityGroup:
        """A project's security group by id or name; 404 when there is none, 409 when there are several."""
        return groups.find(conn, project_id, ident)

    def groups_of_ports(
        self, conn: sa.Connection, ports: Sequence[str]
    ) -> dict[str, list[SecurityGroup]]:
        """The security groups that are on ports, of those that are there."""
        return groups.of_ports(conn, ports)


def _check_place(port: Port, host_id: str) -> None:
    if port.bound and port.host_id != host_id:
        raise conflict(
            "PortBound",
            f"Unable to complete operation on port {port.id}, port is already bound.",
            "Detach it from its machine first, or use another port.",
        )
