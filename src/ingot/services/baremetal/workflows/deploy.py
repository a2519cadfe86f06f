"""Deploy: put an image on a machine and start it.

The order is in the node's instance_info (image_source and what belongs to it), the config drive waits
sealed. Nothing is written before both the controller and the agent have proved to be this machine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.machine.types import PowerTarget
from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations import service as allocations
from ingot.services.baremetal.boot import configdrive
from ingot.services.baremetal.nodes import history_store
from ingot.services.baremetal.orders import DeployOrder, UndeployOrder
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.types import ImageFacts, Node
from ingot.services.baremetal.workflows import booting, deployplan, netboot, proofs, steps
from ingot.services.baremetal.workflows.agentwork import (
    agent_steps,
    install_boot_loader,
    write_image,
)
from ingot.services.baremetal.workflows.node_task import NodeTask, unplug
from ingot.services.baremetal.workflows.partitions import partitions_of
from ingot.services.baremetal.workflows.requested_steps import deploy_steps
from ingot.services.baremetal.workflows.stepping import Steps, needs_agent, offered_by_driver
from ingot.workflow import StepContext

#: How long an image URL given to an agent stays good, beyond the write's own deadline.
_URL_SPARE = 600


async def deploy(task: NodeTask, order: DeployOrder) -> None:
    """available -> deploying -> wait call-back -> deploying -> active."""
    node = await task.node()
    style = task.deps.registry.deploy(node.driver, node.interfaces.get("deploy"))
    outside = offered_by_driver(task, node, "deploy")
    asked = await deploy_steps(task, order)
    if not style.uses_agent:
        await _deploy_without_agent(task, node, asked)
        return

    writes, size = style.writes_disk, None
    if writes:
        checked = await task.op.step(
            "check the image", lambda _ctx: check_image(task), deadline=300, min_deadline=300
        )
        size = checked["size"]
    # Without an image of ours the boot loader is the business of whoever wrote the disk.
    ours = (deployplan.WRITE, deployplan.LOADER)
    core = [step for step in deployplan.CORE if writes or step["step"] not in ours]

    async def write(again: str | None) -> None:
        await _write(task, again, size)

    async def loader(again: str | None) -> None:
        await install_boot_loader(task, again)

    async def leave(_again: str | None) -> None:
        await steps.stop_agent(task, restart=False)

    async def networks(_again: str | None) -> None:
        await steps.prepare_disk_boot(task)
        await steps.attach_instance_networks(task)

    async def start(_again: str | None) -> None:
        await steps.start_instance(task)

    own = {
        deployplan.WRITE: write,
        deployplan.LOADER: loader,
        deployplan.LEAVE: leave,
        deployplan.NETWORKS: networks,
        deployplan.START: start,
    }
    runner = Steps(task, "deploy", agent=True, own=own)
    early = [step for step in asked if not needs_agent(step, outside)]
    before = deployplan.before_agent(deployplan.merge((), (), outside, early), outside)
    await runner.run(before, outside, part="first ")
    plan = deployplan.Plan()

    async def work(again: str | None) -> None:
        nonlocal plan
        offered = await agent_steps(task, "deploy", again)
        merged = deployplan.merge(core, offered, outside, asked)
        plan = deployplan.split(merged, outside)
        await runner.run(plan.inside, outside, again)

    await steps.with_agent(task, work)
    runner.without_agent()
    await runner.run(plan.after, outside, part="last ")


def deployed(task: NodeTask, conn: sa.Connection) -> None:
    """In the commit that ends the operation: an instance on its disk fetches nothing any more."""
    if not netboot.is_ramdisk(task, store.get_node(conn, task.uuid)):
        task.deps.images.revoke(conn, task.uuid)
    task.finish(conn, "done", "Deployed.", deploy_step={}, instance_stopped=False)


async def check_image(task: NodeTask) -> dict[str, Any]:
    """The image must exist and carry a checksum before the machine is touched."""
    facts = await image_facts(task)
    parts = partitions_of(await task.node())
    if parts is not None and not task.deps.install_boot_loaders:
        raise Invalid(
            "The image is that of a file system, which has no boot loader of its own.",
            next_action="Deploy the image of a whole disk, or set baremetal.install_boot_loaders: the "
            "agent then runs the image's own installer as root.",
        )
    if parts is not None and facts.size is not None and facts.size > parts.root << 20:
        raise Invalid(
            f"The image has {facts.size >> 20} MiB, more than the root partition's {parts.root}.",
            next_action="Set a larger instance_info.root_gb.",
        )
    return {"id": facts.id, "format": facts.disk_format, "size": facts.size}


async def image_facts(task: NodeTask) -> ImageFacts:
    """What instance_info asks for, as the agent is told about it."""

    def query(conn: sa.Connection) -> dict[str, Any]:
        return store.instance_info(conn, task.deps.vault, store.get_node(conn, task.uuid))

    info = await task.deps.db.read(query)
    source = str(info.get("image_source") or "")
    if not source:
        raise Invalid(
            "instance_info.image_source is missing.",
            next_action="Set instance_info.image_source to an image, then deploy again.",
        )
    ttl = task.deps.timing.write + _URL_SPARE
    if "://" in source and not source.startswith("glance://"):
        return await task.deps.sources.facts(source, info, ttl)
    right = await task.right_to("instance_info.image_source")
    ident = source.removeprefix("glance://")
    return await task.deps.images.for_deploy(ident, ttl, right, task.uuid)


async def _write(task: NodeTask, key: str | None, size: int | None) -> None:
    """size: bytes of the image as it is sent, None when nobody knows: then no history tells how long it takes."""

    async def write(ctx: StepContext) -> dict[str, Any]:
        facts = await image_facts(task)
        parts = partitions_of(await task.node())
        return await write_image(task, ctx, facts, await _config_drive(task), parts)

    await task.op.commit("wait for the image", lambda conn: task.shift(conn, "wait"), key=key)
    await task.op.step(
        "write the image",
        write,
        key=key,
        deadline=task.deps.timing.write,
        min_deadline=60 if size else task.deps.timing.write,
        amount=size,
        commit=lambda conn, _result: task.shift(conn, "resume"),
    )


async def _config_drive(task: NodeTask) -> str | None:
    """The config drive as the agent takes it: built here when the order has its documents."""
    drive: Any = await task.deps.db.read(
        lambda conn: store.read_secret(conn, task.deps.vault, task.uuid, "configdrive")
    )
    if isinstance(drive, dict):
        packed = await asyncio.to_thread(configdrive.build, cast("dict[str, Any]", drive))
        return packed.decode()
    return drive


async def _deploy_without_agent(
    task: NodeTask, node: Node, asked: Sequence[dict[str, Any]]
) -> None:
    """Styles that do their steps themselves, such as fake hardware."""
    outside = offered_by_driver(task, node, "deploy")
    merged = deployplan.merge((), (), outside, asked)

    async def stop(_again: str | None) -> None:
        await steps.set_power(task, "power off", PowerTarget.OFF)

    own = {"deploy": stop} if netboot.is_ramdisk(task, node) else None
    await Steps(task, "deploy", agent=False, own=own).run(merged, outside)
    await netboot.prepare_boot(task)
    await steps.attach_instance_networks(task)
    await steps.start_instance(task)


async def undeploy(task: NodeTask, _order: UndeployOrder) -> None:
    """Take the instance away; the machine then goes through cleaning in the same operation."""
    from ingot.services.baremetal.workflows.clean import clean_automatically

    await proofs.prove_controller(task, "prove whom to stop")
    await steps.set_power(task, "stop the instance", PowerTarget.OFF)
    await booting.take_out_instance(task)
    await task.op.commit("detach the instance", lambda conn: _detach_instance(task, conn))
    await clean_automatically(task)


def _detach_instance(task: NodeTask, conn: sa.Connection) -> None:
    """Networks, order, secrets and name of the instance go: the machine is nobody's while it is cleaned."""
    node = store.get_node(conn, task.uuid)
    unplug(task.deps, conn, node)
    task.deps.images.revoke(conn, task.uuid)
    for port in port_store.carriers(conn, task.uuid):
        if port.vif:
            task.deps.networks.unplug_vif(conn, node, port.vif)
            port_store.set_internal(conn, port, {"tenant_vif_port_id": None})
    secrets = ("instance_info", "configdrive", "rescue_password")
    agent_store.forget_agent(conn, task.uuid, *secrets)
    allocations.end_with_instance(task.deps.now(), conn, task.uuid)
    gone: dict[str, Any] = {"instance_stopped": False, "automatic_lessee": False}
    gone |= {"instance_info": {}, "instance_uuid": None, "instance_name": None}
    gone |= {"deploy_step": {}, "boot_intent": None}
    if node.automatic_lessee:
        gone["lessee"] = None
    here = history_store.node_state(conn, task.uuid)
    task.note(conn, "The instance was taken away.", place=here)
    task.shift(conn, "clean", here, **gone)
