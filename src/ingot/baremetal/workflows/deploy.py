"""Deploy: put an image on a machine and start it.

The order is in the node's instance_info (image_source and what belongs to it), the config drive waits
sealed. Nothing is written before both the controller and the agent have proved to be this machine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import sqlalchemy as sa

from ingot.baremetal import allocations, configdrive, history, part_store, store
from ingot.baremetal.types import ImageFacts, Node
from ingot.baremetal.workflows import booting, deployplan, netboot, proofs, steps
from ingot.baremetal.workflows.agentwork import agent_steps, install_boot_loader, write_image
from ingot.baremetal.workflows.asked import deploy_steps
from ingot.baremetal.workflows.orders import DeployOrder, UndeployOrder
from ingot.baremetal.workflows.partitions import partitions_of
from ingot.baremetal.workflows.room import Case, unplug
from ingot.baremetal.workflows.stepping import Steps, needs_agent, offered_by_driver
from ingot.drivers.types import PowerTarget
from ingot.kit.faults import Invalid
from ingot.workflow import StepContext

#: How long an image URL given to an agent stays good, beyond the write's own deadline.
_URL_SPARE = 600


async def deploy(case: Case, order: DeployOrder) -> None:
    """available -> deploying -> wait call-back -> deploying -> active."""
    node = await case.node()
    style = case.room.registry.deploy(node.driver, node.interfaces.get("deploy"))
    outside = offered_by_driver(case, node, "deploy")
    asked = await deploy_steps(case, order)
    if not style.uses_agent:
        await _deploy_without_agent(case, node, asked)
        return

    writes, size = style.writes_disk, None
    if writes:
        checked = await case.op.step(
            "check the image", lambda _ctx: check_image(case), deadline=300, min_deadline=300
        )
        size = checked["size"]
    # Without an image of ours the boot loader is the business of whoever wrote the disk.
    ours = (deployplan.WRITE, deployplan.LOADER)
    core = [step for step in deployplan.CORE if writes or step["step"] not in ours]

    async def write(again: str | None) -> None:
        await _write(case, again, size)

    async def loader(again: str | None) -> None:
        await install_boot_loader(case, again)

    async def leave(_again: str | None) -> None:
        await steps.stop_agent(case, restart=False)

    async def networks(_again: str | None) -> None:
        await steps.prepare_disk_boot(case)
        await steps.attach_instance_networks(case)

    async def start(_again: str | None) -> None:
        await steps.start_instance(case)

    own = {
        deployplan.WRITE: write,
        deployplan.LOADER: loader,
        deployplan.LEAVE: leave,
        deployplan.NETWORKS: networks,
        deployplan.START: start,
    }
    runner = Steps(case, "deploy", agent=True, own=own)
    early = [step for step in asked if not needs_agent(step, outside)]
    before = deployplan.before_agent(deployplan.merge((), (), outside, early), outside)
    await runner.run(before, outside, part="first ")
    plan = deployplan.Plan()

    async def work(again: str | None) -> None:
        nonlocal plan
        offered = await agent_steps(case, "deploy", again)
        merged = deployplan.merge(core, offered, outside, asked)
        plan = deployplan.split(merged, outside)
        await runner.run(plan.inside, outside, again)

    await steps.with_agent(case, work)
    runner.without_agent()
    await runner.run(plan.after, outside, part="last ")


def deployed(case: Case, conn: sa.Connection) -> None:
    """In the commit that ends the operation: an instance on its disk fetches nothing any more."""
    if not netboot.is_ramdisk(case, store.get_node(conn, case.uuid)):
        case.room.images.revoke(conn, case.uuid)
    started = store.merged_info(conn, case.uuid, {"instance_stopped": None})
    case.finish(conn, "done", "Deployed.", deploy_step={}, **started)


async def check_image(case: Case) -> dict[str, Any]:
    """The image must exist and carry a checksum before the machine is touched."""
    facts = await image_facts(case)
    parts = partitions_of(await case.node())
    if parts is not None and not case.room.install_boot_loaders:
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


async def image_facts(case: Case) -> ImageFacts:
    """What instance_info asks for, as the agent is told about it."""

    def query(conn: sa.Connection) -> dict[str, Any]:
        return store.instance_info(conn, case.room.vault, store.get_node(conn, case.uuid))

    info = await case.room.db.read(query)
    source = str(info.get("image_source") or "")
    if not source:
        raise Invalid(
            "instance_info.image_source is missing.",
            next_action="Set instance_info.image_source to an image, then deploy again.",
        )
    ttl = case.room.timing.write + _URL_SPARE
    if "://" in source and not source.startswith("glance://"):
        return await case.room.sources.facts(source, info, ttl)
    right = await case.right_to("instance_info.image_source")
    ident = source.removeprefix("glance://")
    return await case.room.images.for_deploy(ident, ttl, right, case.uuid)


async def _write(case: Case, key: str | None, size: int | None) -> None:
    """size: bytes of the image as it is sent, None when nobody knows: then no history tells how long it takes."""

    async def write(ctx: StepContext) -> dict[str, Any]:
        facts = await image_facts(case)
        parts = partitions_of(await case.node())
        return await write_image(case, ctx, facts, await _config_drive(case), parts)

    await case.op.commit("wait for the image", lambda conn: case.shift(conn, "wait"), key=key)
    await case.op.step(
        "write the image",
        write,
        key=key,
        deadline=case.room.timing.write,
        min_deadline=60 if size else case.room.timing.write,
        amount=size,
        commit=lambda conn, _result: case.shift(conn, "resume"),
    )


async def _config_drive(case: Case) -> str | None:
    """The config drive as the agent takes it: built here when the order has its documents."""
    drive: Any = await case.room.db.read(
        lambda conn: store.read_secret(conn, case.room.vault, case.uuid, "configdrive")
    )
    if isinstance(drive, dict):
        packed = await asyncio.to_thread(configdrive.build, cast("dict[str, Any]", drive))
        return packed.decode()
    return drive


async def _deploy_without_agent(case: Case, node: Node, asked: Sequence[dict[str, Any]]) -> None:
    """Styles that do their steps themselves, such as fake hardware."""
    outside = offered_by_driver(case, node, "deploy")
    merged = deployplan.merge((), (), outside, asked)

    async def stop(_again: str | None) -> None:
        await steps.set_power(case, "power off", PowerTarget.OFF)

    own = {"deploy": stop} if netboot.is_ramdisk(case, node) else None
    await Steps(case, "deploy", agent=False, own=own).run(merged, outside)
    await netboot.prepare_boot(case)
    await steps.attach_instance_networks(case)
    await steps.start_instance(case)


async def undeploy(case: Case, _order: UndeployOrder) -> None:
    """Take the instance away; the machine then goes through cleaning in the same operation."""
    from ingot.baremetal.workflows.clean import clean_automatically

    await proofs.prove_controller(case, "prove whom to stop")
    await steps.set_power(case, "stop the instance", PowerTarget.OFF)
    await booting.take_out_instance(case)
    await case.op.commit("detach the instance", lambda conn: _detach_instance(case, conn))
    await clean_automatically(case)


def _detach_instance(case: Case, conn: sa.Connection) -> None:
    """Networks, order, secrets and name of the instance go: the machine is nobody's while it is cleaned."""
    node = store.get_node(conn, case.uuid)
    unplug(case.room, conn, node)
    case.room.images.revoke(conn, case.uuid)
    for port in part_store.carriers(conn, case.uuid):
        if port.vif:
            case.room.networks.unplug_vif(conn, node, port.vif)
            part_store.set_internal(conn, port, {"tenant_vif_port_id": None})
    secrets = ("instance_info", "configdrive", "rescue_password")
    store.forget_agent(conn, case.uuid, *secrets)
    allocations.end_with_instance(case.room.now(), conn, case.uuid)
    facts = {"instance_stopped": None, "automatic_lessee": None}
    gone = store.merged_info(conn, case.uuid, facts)
    gone |= {"instance_info": {}, "instance_uuid": None, "instance_name": None}
    gone |= {"deploy_step": {}, "boot_intent": None}
    if node.driver_internal_info.get("automatic_lessee"):
        gone["lessee"] = None
    here = history.present(conn, case.uuid)
    case.note(conn, "The instance was taken away.", place=here)
    case.shift(conn, "clean", here, **gone)
