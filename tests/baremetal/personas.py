"""Everybody who may ask, something of every kind to ask for, and a way back after each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from api_support import ROLES, World, project, system

from ingot.kit.auth.policy import Caller

OWNER, LESSEE, STRANGER = "p-owner", "p-lessee", "p-stranger"


def everybody() -> dict[str, Caller]:
    """Each persona by a name for messages."""
    found = {f"system {role}": system(role) for role in ROLES}
    for name in (OWNER, LESSEE):
        found |= {f"{name} {role}": project(role, name) for role in ROLES}
    found |= {f"{STRANGER} {role}": project(role, STRANGER) for role in ("admin", "service")}
    found["owner without a role"] = Caller(user_id="u", project_id=OWNER)
    found["system without a role"] = Caller(user_id="u", system=True)
    found["no scope"] = Caller(user_id="u", roles=frozenset(ROLES["admin"]))
    return found


class Snapshot:
    """All rows of all tables; `restore` puts them back."""

    def __init__(self, api: World) -> None:
        self._api = api
        self._rows: dict[sa.Table, list[dict[str, Any]]] = {}
        self._tables: list[sa.Table] = []

    async def take(self) -> None:
        from ingot.kit.db.database import metadata

        self._tables = list(metadata.sorted_tables)
        self._rows = await self._api.db.read(
            lambda conn: {
                table: [dict(row) for row in conn.execute(sa.select(table)).mappings()]
                for table in self._tables
            }
        )

    async def restore(self) -> None:
        def put_back(conn: sa.Connection) -> None:
            for table in reversed(self._tables):
                conn.execute(sa.delete(table))
            for table in self._tables:
                if self._rows[table]:
                    conn.execute(sa.insert(table), self._rows[table])

        await self._api.db.write(put_back)


@dataclass
class Furniture:
    """One of everything, made through the API by the system's admin.

    ids: collection below /v1 -> the identifier of its one; nested ones by their parameter's name.
    """

    api: World
    owner: str | None = OWNER
    lessee: str | None = LESSEE
    ids: dict[str, str] = field(default_factory=dict[str, str])
    tag: int = 1

    async def lay(self, **node: Any) -> Furniture:
        made = await self.make(
            "nodes",
            driver="fake-hardware",
            owner=self.owner,
            lessee=self.lessee,
            driver_info={"foo": "bar", "fake_password": "fakepass"},
            **node,
        )
        uuid = made["uuid"]
        await self.api.force(
            uuid,
            provision_state="available",
            power_state="power off",
            last_error="meow",
            reservation=None,
            driver_internal_info={"private_state": "secret value"},
        )
        place = {"node_uuid": uuid}
        await self.make("ports", address=f"02:00:00:00:00:{self.tag:02x}", **place)
        await self.make("portgroups", address=f"02:00:00:00:01:{self.tag:02x}", **place)
        await self.make("volume/connectors", type="iqn", connector_id=f"iqn.{self.tag}", **place)
        await self.make(
            "volume/targets", volume_type="iscsi", volume_id="v1", boot_index=0, **place
        )
        await self.make("chassis")
        await self.make(
            "deploy_templates",
            name=f"CUSTOM_T{self.tag}",
            steps=[{"interface": "bios", "step": "x", "args": {}, "priority": 1}],
        )
        await self.make(
            "runbooks",
            name=f"CUSTOM_R{self.tag}",
            owner=self.owner,
            steps=[{"interface": "bios", "step": "x", "args": {}, "order": 1}],
        )
        await self.make(
            "inspection_rules",
            actions=[{"op": "fail", "args": {"msg": "no"}}],
        )
        self.ids |= {"drivers": "fake-hardware", "conductors": "host-1", "trait": "CUSTOM_A"}
        self.ids |= {"vif": "vif-1", "event": uuid, "setting": "x", "component": "system"}
        reply = await self.api.ask("PUT", f"/v1/nodes/{uuid}/traits/CUSTOM_MEOW")
        assert reply.status == 204, reply.json
        return self

    async def make(self, collection: str, **body: Any) -> dict[str, Any]:
        """One, when there is such a collection."""
        reply = await self.api.ask("POST", f"/v1/{collection}", body)
        if reply.status in (404, 405):
            return {}
        assert reply.status == 201, (collection, reply.json)
        self.ids[collection] = reply.json["uuid"]
        return reply.json

    async def allocate(self, owner: str | None, resource_class: str = "CUSTOM_TEST") -> None:
        """An allocation that holds the node, and what belongs to a node in use: history and inventory."""
        from ingot.services.baremetal import tables

        made = await self.make("allocations", resource_class=resource_class, owner=owner)
        node = self.ids["nodes"]
        event = self.ids["event"] = str(uuid4())
        await self.api.end_operations()

        def tie(conn: sa.Connection) -> None:
            conn.execute(
                sa.update(tables.allocations)
                .where(tables.allocations.c.uuid == made["uuid"])
                .values(node_uuid=node, state="active")
            )
            conn.execute(
                sa.update(tables.nodes)
                .where(tables.nodes.c.uuid == node)
                .values(allocation_uuid=made["uuid"], instance_uuid=made["uuid"])
            )
            conn.execute(
                tables.node_inventories.insert().values(
                    node_uuid=node, inventory="{}", plugin_data="{}", created_at="now"
                )
            )
            conn.execute(
                tables.node_history.insert().values(
                    uuid=event, node_uuid=node, created_at="now", severity="ERROR", event="meow"
                )
            )

        await self.api.db.write(tie)
