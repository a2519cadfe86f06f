"""Deploy templates and asked-for steps on a simulated machine: what runs, in what order, with what secrets."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ingot.kit.faults import Invalid
from ingot.services.baremetal import BaremetalSettings, store
from ingot.services.baremetal.boot.imagerights import CLOUD
from ingot.services.baremetal.steps import known as known_steps
from ingot.services.baremetal.steps.options import StepRules
from ingot.services.baremetal.tables import deploy_templates, node_secrets, runbooks
from ingot.services.baremetal.templates import service as templates
from ingot.workflow import operations, steps
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio


def step(name: str, priority: int, **args: Any) -> dict[str, Any]:
    return {"interface": "deploy", "step": name, "args": args, "priority": priority}


async def _told(here: Site, uuid: str, kind: str = "deploy") -> tuple[list[str], str]:
    """Names of the deploy steps that were done, in their order; and everything that was recorded."""

    def query(conn: sa.Connection) -> tuple[list[str], str]:
        operation = operations(conn, f"node:{uuid}", limit=1)[0]
        done = [one for one in steps(conn, operation.id) if one.state == "done"]
        shown = [one.key for one in done if one.name == f"show the {kind} step"]
        return [str(key).split()[-1] for key in shown], f"{operation} {done}"

    return await here.db.read(query)


async def test_templates_are_merged_by_priority_and_their_secrets_stay_inside() -> None:
    async with site(1) as here:
        (uuid,) = await here.enrol("available")
        ctx = here.baremetal.ctx
        asked = [
            step("inject_files", 70, password="opensesame"),
            step("erase_devices_metadata", 85),
        ]
        values = {"name": "CUSTOM_T", "steps": asked, "extra": {}}
        await here.db.write(lambda conn: templates.insert(ctx, conn, deploy_templates, values))
        info = {
            "image_source": here.image_url,
            "image_checksum": here.image_sum,
            "image_disk_format": "raw",
            "traits": ["CUSTOM_T", "CUSTOM_WITHOUT_TEMPLATE"],
        }
        await here.db.write(
            lambda conn: here.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=CLOUD
            )
        )
        await here.verb(uuid, "active")
        await here.until(uuid, "active")
        names, recorded = await _told(here, uuid)
        assert names == [
            "deploy.erase_devices_metadata",
            "deploy.write_image",
            "deploy.inject_files",
            "deploy.prepare_instance_boot",
            "deploy.tear_down_agent",
            "deploy.switch_to_tenant_network",
            "deploy.boot_instance",
        ]
        assert "opensesame" not in recorded and "******" in recorded
        (machine,) = here.fleet.machines.values()
        acts = [act.act for act in machine.destructive_acts]
        assert acts.index("erase_devices_metadata") < acts.index("write_image")

        def left(conn: sa.Connection) -> tuple[list[str], dict[str, Any]]:
            names = conn.execute(sa.select(node_secrets.c.name)).scalars().all()
            node = store.get_node(conn, uuid)
            known = known_steps.offered(conn, ctx.registry, node, "deploy")
            return list(names), {one["step"]: one for one in known}

        secrets, known = await here.db.read(left)
        assert "steps" not in secrets
        # The agent has told what it offers; who asks now need not wait until it is up again.
        assert known["inject_files"]["source"] == "agent" and known["inject_files"]["last_seen"]


async def test_a_template_that_became_wrong_fails_the_deploy_with_its_name() -> None:
    async with site(1) as here:
        (uuid,) = await here.enrol("available")
        ctx = here.baremetal.ctx
        values = {"name": "CUSTOM_T", "steps": [step("no_such_step", 85)], "extra": {}}
        await here.db.write(lambda conn: templates.insert(ctx, conn, deploy_templates, values))
        await here.prepare(uuid)
        traits = {"instance_info": (await here.node(uuid)).instance_info | {"traits": ["CUSTOM_T"]}}
        await here.db.write(lambda conn: store.update_node(conn, uuid, **traits))
        # Nobody knows yet what the agent will offer: the deploy begins, and ends when it has told.
        await here.verb(uuid, "active")
        assert await here.rest(uuid) == "deploy failed"
        error = await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid))
        assert "node does not support this deploy step: deploy.no_such_step" in str(error)
        (machine,) = here.fleet.machines.values()
        assert machine.destructive_acts == []


async def test_a_runbook_cleans_where_operators_say_so() -> None:
    """Its steps and no others, on machines that share a trait with it; the others fail with the reason."""
    rules = StepRules(
        cleaning_source="runbook",
        cleaning_runbook="our-cleaning",
        forbidden={"clean": frozenset({"deploy.erase_pstore"})},
    )
    async with site(2, options=BaremetalSettings(steps=rules)) as here:
        fit, other = await here.enrol("manageable")
        names = ("erase_pstore", "burnin_cpu", "erase_devices_express")
        asked = [
            {"interface": "deploy", "step": name, "args": {}, "order": 3 - number}
            for number, name in enumerate(names)
        ]
        values = {"name": "our-cleaning", "steps": asked, "extra": {}, "traits": ["CUSTOM_A"]}
        ctx = here.baremetal.ctx
        await here.db.write(lambda conn: templates.insert(ctx, conn, runbooks, values))
        await here.db.write(lambda conn: here.baremetal.add_trait(conn, fit, "CUSTOM_A"))
        for uuid in (fit, other):
            await here.verb(uuid, "provide")
        assert await here.rest(fit) == "available"
        assert await here.rest(other) == "clean failed"
        told, _recorded = await _told(here, fit, "clean")
        assert told == ["deploy.erase_devices_express", "deploy.burnin_cpu"]
        error = await here.db.read(lambda conn: here.baremetal.last_error(conn, other))
        assert "None of the runbook's traits ['CUSTOM_A'] match a node trait" in str(error)


async def test_power_steps_on_child_nodes() -> None:
    """The cards in a machine are switched one after the other; the machine itself is left alone."""
    async with site(3) as here:
        parent, first, second = await here.enrol("manageable")
        for child in (first, second):
            await here.db.write(
                lambda conn, c=child: store.update_node(conn, c, parent_node=parent)
            )
        every = {"interface": "power", "step": "power_on", "execute_on_child_nodes": True}
        one = every | {"step": "power_off", "limit_child_node_execution": [second]}
        await here.verb(parent, "clean", steps=[every, one])
        assert await here.until(parent, "manageable") == "manageable"
        machines = list(here.fleet.machines.values())
        states = [(await here.node(uuid)).power_state for uuid in (first, second)]
        assert states == ["power on", "power off"]
        assert [machine.power for machine in machines[1:]] == ["on", "off"]
        for uuid in (first, second):
            node = await here.node(uuid)
            assert (node.target_power_state, node.provision_state) == (None, "manageable")
        with pytest.raises(Invalid):
            await here.verb(parent, "clean", steps=[every | {"step": "hold"}])
