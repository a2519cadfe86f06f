"""The life of one instance by Nova's own ironic driver: run by a Python that has `nova` (34 was used).

    PYTHON_WITH_NOVA nova_driver.py NOVA_CONF IMAGE_ID PORT_ID [MKISOFS]

No nova-compute: the driver's methods are called as the compute manager calls them, with real Nova objects in
a SQLite database. Prints a JSON line per call: its name, what it gave, and the HTTP requests it made.
"""

from __future__ import annotations

import collections
import json
import logging
import re
import sys
import uuid

from nova import config, context, objects
from nova.compute import power_state, provider_tree, task_states, vm_states
from nova.conf import CONF
from nova.network import model
from nova.virt import fake
from nova.virt.ironic import driver as ironic

requests: list[list[str]] = []
SENT = re.compile(r"REQ: curl .*?-X (\w+) \"?http://[^/]+([^\s\"?]*)(.*)", re.S)
VERSION = re.compile(r"X-OpenStack-Ironic-API-Version: ([\d.]+)")


class Tap(logging.Handler):
    """Keeps method, path, microversion and status of every request."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if sent := SENT.match(text):
            version = VERSION.search(sent[3])
            path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "{id}", sent[2])
            requests.append([sent[1], path, version[1] if version else "-"])
        elif (got := re.match(r"RESP: \[(\d+)\]", text)) and requests:
            requests[-1].append(got[1])


def step(name, work, *args, **more):
    """One call; what went wrong is told, and the life goes on."""
    requests.clear()
    try:
        value, failed = work(*args, **more), ""
    except Exception as error:
        value, failed = None, f"{type(error).__name__}: {error}"
    counted = collections.Counter(" ".join(one) for one in requests)
    line = {"call": name, "gave": repr(value)[:300], "failed": failed, "requests": dict(counted)}
    print(json.dumps(line), flush=True)
    return value


def an_instance(ctx, node: str, image: str, drive: bool):
    flavor = objects.Flavor(
        id=1, name="metal", flavorid="metal", memory_mb=1, vcpus=1, root_gb=10, ephemeral_gb=0,
        swap=0, rxtx_factor=1, vcpu_weight=0, disabled=False, is_public=True, description=None,
        extra_specs={"resources:CUSTOM_GOLD": "1", "trait:CUSTOM_FAST": "required",
                     "capabilities:boot_mode": "uefi"},
    )  # fmt: skip
    made = objects.Instance(
        ctx, uuid=str(uuid.uuid4()), project_id="p", user_id="u", host=CONF.host, node=node,
        compute_id=1, display_name="tree", hostname="tree", flavor=flavor, image_ref=image,
        vm_state=vm_states.BUILDING, task_state=task_states.SPAWNING, memory_mb=1, vcpus=1,
        power_state=power_state.NOSTATE, root_gb=10, ephemeral_gb=0, key_data=None, metadata={},
        system_metadata={"image_base_image_ref": image}, old_flavor=None, new_flavor=None,
        config_drive="True" if drive else "", launch_index=0, default_ephemeral_device=None,
        numa_topology=None, pci_requests=None, vcpu_model=None, availability_zone=None,
    )  # fmt: skip
    made.info_cache = objects.InstanceInfoCache(
        ctx, instance_uuid=made.uuid, network_info=model.NetworkInfo([])
    )
    made.create()
    made.tags = objects.TagList(objects=[])
    made.keypairs = objects.KeyPairList(objects=[])
    made.security_groups = objects.SecurityGroupList(objects=[])
    made.ec2_ids = objects.EC2Ids(
        instance_id="i-1", ami_id="ami-1", kernel_id=None, ramdisk_id=None
    )
    made.obj_reset_changes()
    return made


def a_network(port: str):
    address = model.FixedIP(address="192.0.2.20", version=4)
    gateway = model.IP(address="192.0.2.1", version=4)
    subnet = model.Subnet(
        cidr="192.0.2.0/24", ips=[address], dns=[], routes=[], version=4, gateway=gateway
    )
    network = model.Network(
        id=str(uuid.uuid4()), bridge=None, label="provider", subnets=[subnet], mtu=1500
    )
    vif = model.VIF(
        id=port, address="02:00:00:00:00:05", network=network, type="other", active=True
    )
    return vif, model.NetworkInfo([vif])


def main() -> None:
    conf, image_id, port_id, *mkisofs = sys.argv[1:]
    config.parse_args(["nova-compute", "--config-file", conf], configure_db=True, init_rpc=False)
    objects.register_all()
    if mkisofs:
        CONF.set_override("mkisofs_cmd", mkisofs[0])
    log = logging.getLogger("keystoneauth")
    log.setLevel(logging.DEBUG)
    log.addHandler(Tap())
    ctx = context.get_admin_context()
    ctx.project_id, ctx.user_id = "p", "u"
    driver = ironic.IronicDriver(fake.FakeVirtAPI())
    step("init_host", driver.init_host, CONF.host)
    (node,) = step("get_available_nodes", driver.get_available_nodes)
    step("get_available_resource", driver.get_available_resource, node)
    tree = provider_tree.ProviderTree()
    tree.new_root(node, node, generation=0)

    def inventory():
        driver.update_provider_tree(tree, node)
        return tree.data(node).inventory, sorted(tree.data(node).traits)

    step("update_provider_tree", inventory)
    step("node_is_available", driver.node_is_available, node)
    one = an_instance(ctx, node, image_id, bool(mkisofs))
    image = objects.ImageMeta(
        id=image_id, name="debian", status="active", properties=objects.ImageMetaProps()
    )
    vif, info = a_network(port_id)
    one.info_cache.network_info = info

    def state():
        return driver.get_info(one, use_cache=False).state

    step("prepare_for_spawn", driver.prepare_for_spawn, one)
    step("prepare_networks", driver.prepare_networks_before_block_device_mapping, one, info)
    step("spawn", driver.spawn, ctx, one, image, [], "pw", {}, info, {})
    step("get_info", state)
    step("instance_exists", driver.instance_exists, one)
    step("list_instance_uuids", driver.list_instance_uuids)
    step("update_provider_tree in use", inventory)
    step("power_off", driver.power_off, one)
    step("get_info off", state)
    step("power_on", driver.power_on, ctx, one, info)
    step("reboot hard", driver.reboot, ctx, one, info, "HARD")
    step("reboot soft", driver.reboot, ctx, one, info, "SOFT")
    step("trigger_crash_dump", driver.trigger_crash_dump, one)
    step("get_serial_console", driver.get_serial_console, ctx, one)
    step("rescue", driver.rescue, ctx, one, info, image, "pw", None, None)
    step("unrescue", driver.unrescue, ctx, one)
    step("detach_interface", driver.detach_interface, ctx, one, vif)
    step("attach_interface", driver.attach_interface, ctx, one, image, vif)
    one.task_state = task_states.REBUILDING
    one.save()
    nothing = lambda *_args, **_more: None  # noqa: E731
    step("rebuild", driver.rebuild, ctx, one, image, [], "pw", [], {}, nothing, nothing, info)
    step("destroy", driver.destroy, ctx, one, info)
    step("clean_networks_preparation", driver.clean_networks_preparation, one, info)
    step("get_available_nodes after", driver.get_available_nodes)


if __name__ == "__main__":
    main()
