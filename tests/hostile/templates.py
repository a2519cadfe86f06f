"""Good requests to be spoilt in one place: they reach what a wrong name or path never does.

{x} is the id of something that is there (see `tests.hostile.run`), {text} a word. As an administrator.
"""

from __future__ import annotations

from typing import Any

BM, CO, NET, IM, ID = "/baremetal/v1", "/compute/v2.1", "/network/v2.0", "/image/v2", "/identity/v3"
_STEP = {"interface": "bios", "step": "factory_reset", "args": {"a": "b"}, "order": 1}
_RULE_ACTION = {"op": "set-attribute", "args": {"path": "extra/a", "value": "b"}}
_RULE_CHECK = {"op": "eq", "args": {"values": ["a", "b"]}}
_FILTERS = (
    f"{BM}/nodes?owner=x&resource_class=y&driver=z&description_contains=d&shard=s",
    f"{BM}/nodes?instance_uuid={{node}}&conductor_group=g&fault=f&parent_node={{node}}",
    f"{BM}/nodes/detail?sort_key=name&marker={{node}}&limit=3",
    f"{BM}/ports?address=52:54:00:00:00:01&node={{node}}&shard=a",
    f"{BM}/allocations?node={{node}}&resource_class=a&state=active&owner=x",
    f"{BM}/nodes/{{node}}/history?limit=2&marker=a",
    f"{BM}/volume/targets?node={{node}}",
    f"{CO}/servers/detail?name=a&ip=10.&ip6=fe&flavor=m&image=i&status=ACTIVE&tags=a,b&host=h&uuid=u",
    f"{CO}/servers?changes-since=2020-01-01T00:00:00Z&marker=x&limit=2&sort_key=uuid&all_tenants=1",
    f"{CO}/flavors/detail?minRam=1&minDisk=2&is_public=none&marker=x&sort_key=name",
    f"{CO}/os-migrations?status=a", f"{CO}/os-hypervisors?hypervisor_hostname_pattern=a",
    f"{NET}/ports?fixed_ips=ip_address=10.8.0.1&mac_address=a&device_id=b&tags=a&name=c&network_id=d",
    f"{NET}/networks?name=a&tags-any=b&id=c&provider:segmentation_id=1&mtu=3&marker={{network}}",
    f"{NET}/subnets?cidr=10.0.0.0/8&gateway_ip=10.0.0.1&ip_version=4&sort_key=name",
    f"{NET}/security-group-rules?port_range_min=1&protocol=tcp&remote_ip_prefix=1.1.1.1/32",
    f"{IM}/images?name=a&owner=b&tag=c&size_min=1&size_max=2&created_at=gt:2020-01-01T00:00:00Z&id=in:a,b",
    f"{IM}/images?os_distro=x&sort=name:asc&marker={{image}}&checksum=a&member_status=all",
    f"{ID}/users?name=a&domain_id=b&enabled=true&name__contains=c&password_expires_at=lt:2020-01-01T00:00:00Z",
    f"{ID}/projects?name=a&parent_id=b&tags=c&not-tags-any=d&is_domain=false",
    f"{ID}/role_assignments?user.id={{user}}&scope.project.id={{project}}&effective&include_names=1",
    "/timeline/v1/events?subject=node:x&after=1&since=2020-01-01&limit=2&operation=o",
    "/timeline/v1/operations?subject=node:x&limit=2", "/timeline/v1/audit?user=a&target=b&request=c&before=9",
    "/timeline/v1/deadlines?kind=deploy&profile=a",
)  # fmt: skip
_PROVISION = f"{BM}/nodes/{{node}}/states/provision"
_ACTION = f"{CO}/servers/{{server}}/action"

#: Method, path, body.
TEMPLATES: tuple[tuple[str, str, Any], ...] = (
    *(("GET", path, None) for path in _FILTERS),
    ("POST", f"{BM}/nodes", {
        "driver": "fake-hardware", "name": "{text}", "owner": "x", "lessee": "y", "extra": {"a": "b"},
        "properties": {"cpus": 4, "memory_mb": 10, "capabilities": "a:b"}, "driver_info": {"a": "b"},
        "resource_class": "r", "description": "d", "conductor_group": "", "shard": "s",
        "chassis_uuid": "{chassis}", "instance_info": {"image_source": "x"}, "network_data": {},
    }),
    *(("PATCH", f"{BM}/nodes/{{node}}", [{"op": "replace", "path": path, "value": value}]) for path, value in (
        ("/extra/x", "v"), ("/name", "n1"), ("/description", "d"), ("/properties/cpus", 4), ("/owner", "o"),
        ("/driver_info/fake_id", "x"), ("/instance_info/capabilities", "x"), ("/resource_class", "r"),
        ("/protected_reason", "x"), ("/instance_uuid", "{node}"), ("/shard", "s"), ("/network_data", {"links": []}),
        ("/properties/capabilities", "boot_mode:uefi"), ("/properties/root_device", {"size": 4}),
    )),
    ("POST", f"{BM}/ports", {
        "address": "52:54:00:aa:00:01", "node_uuid": "{node}", "extra": {"a": "b"}, "name": "{text}",
        "local_link_connection": {"switch_id": "00:00:00:00:00:01", "port_id": "p", "switch_info": "i"},
        "physical_network": "physnet", "description": "x", "vendor": "v",
    }),
    ("PATCH", f"{BM}/ports/{{bmport}}", [{"op": "replace", "path": "/extra", "value": {"a": "b"}}]),
    ("POST", f"{BM}/portgroups", {
        "node_uuid": "{node}", "name": "{text}", "mode": "802.3ad", "properties": {"a": "b"}, "extra": {},
    }),
    ("POST", f"{BM}/chassis", {"description": "d", "extra": {"a": "b"}}),
    ("POST", f"{BM}/allocations", {
        "name": "{text}", "resource_class": "r", "traits": ["CUSTOM_A"], "candidate_nodes": ["{node}"],
        "extra": {"a": "b"}, "owner": "o",
    }),
    ("POST", f"{BM}/deploy_templates", {
        "name": "CUSTOM_{text}", "steps": [{**_STEP, "priority": 1}], "extra": {"a": 1},
    }),
    ("POST", f"{BM}/runbooks", {"name": "CUSTOM_{text}", "steps": [_STEP], "extra": {"a": 1}}),
    ("POST", f"{BM}/inspection_rules", {
        "description": "d", "priority": 1, "phase": "main", "sensitive": False,
        "actions": [_RULE_ACTION], "conditions": [_RULE_CHECK],
    }),
    ("POST", f"{BM}/volume/connectors", {"node_uuid": "{node}", "type": "iqn", "connector_id": "{text}"}),
    ("POST", f"{BM}/volume/targets", {
        "node_uuid": "{node}", "volume_type": "iscsi", "volume_id": "v", "boot_index": 1,
        "properties": {"a": "b"}, "extra": {},
    }),
    ("PUT", f"{BM}/nodes/{{node}}/traits", {"traits": ["CUSTOM_A", "CUSTOM_B"]}),
    ("PUT", f"{BM}/nodes/{{node}}/maintenance", {"reason": "r"}),
    ("PUT", f"{BM}/nodes/{{node}}/states/power", {"target": "power on", "timeout": 5}),
    ("PUT", f"{BM}/nodes/{{node}}/states/raid", {"logical_disks": [{"size_gb": 5, "raid_level": "1"}]}),
    ("PUT", f"{BM}/nodes/{{node}}/management/boot_device", {"boot_device": "pxe", "persistent": True}),
    ("POST", f"{BM}/nodes/{{node}}/vendor_passthru/third_method_sync", {"bar": "x"}),
    ("POST", f"{BM}/nodes/{{node}}/vmedia", {"device_type": "cdrom", "image_url": "http://h/x"}),
    ("POST", f"{BM}/nodes/{{node}}/vifs", {"id": "{netport}", "port_uuid": "{bmport}"}),
    ("PUT", _PROVISION, {"target": "manage"}), ("PUT", _PROVISION, {"target": "inspect"}),
    ("PUT", _PROVISION, {"target": "abort"}), ("PUT", _PROVISION, {"target": "provide"}),
    ("PUT", _PROVISION, {"target": "active", "configdrive": {"meta_data": {"a": "b"}, "user_data": "x"},
                         "deploy_steps": [{**_STEP, "priority": 1}]}),
    ("PUT", _PROVISION, {"target": "clean", "clean_steps": [_STEP]}),
    ("POST", f"{BM}/lookup", {}),
    ("POST", f"{CO}/servers", {"server": {
        "name": "{text}", "flavorRef": "{flavor}", "imageRef": "{image}", "networks": [{"uuid": "{network}",
        "fixed_ip": "10.8.0.20"}], "metadata": {"a": "b"}, "user_data": "YQ==", "key_name": "k",
        "availability_zone": "nova", "description": "d", "tags": ["a"], "config_drive": True, "min_count": 1,
        "security_groups": [{"name": "default"}], "hostname": "h",
    }, "os:scheduler_hints": {"group": "g", "query": "x"}}),
    *(("POST", _ACTION, body) for body in (
        {"reboot": {"type": "HARD"}}, {"os-stop": None}, {"lock": {"locked_reason": "r"}},
        {"rebuild": {"imageRef": "{image}", "name": "n", "metadata": {"a": "b"}, "user_data": "YQ=="}},
        {"rescue": {"adminPass": "p"}}, {"os-getConsoleOutput": {"length": 5}}, {"addFixedIp": {"networkId": "x"}},
        {"os-resetState": {"state": "active"}}, {"createImage": {"name": "x", "metadata": {"a": "b"}}},
        {"addSecurityGroup": {"name": "g"}}, {"changePassword": {"adminPass": "x"}},
    )),
    ("PUT", f"{CO}/servers/{{server}}", {"server": {"name": "s", "description": "d", "hostname": "h"}}),
    ("POST", f"{CO}/servers/{{server}}/metadata", {"metadata": {"a": "b"}}),
    ("PUT", f"{CO}/servers/{{server}}/tags", {"tags": ["a"]}),
    ("POST", f"{CO}/servers/{{server}}/os-interface", {"interfaceAttachment": {"net_id": "{network}"}}),
    ("POST", f"{CO}/os-keypairs", {"keypair": {"name": "{text}", "type": "ssh", "public_key": "ssh-rsa AAAA x"}}),
    ("POST", f"{CO}/os-server-groups", {"server_group": {"name": "{text}", "policy": "affinity", "rules": {}}}),
    ("POST", f"{CO}/flavors", {"flavor": {
        "name": "{text}", "id": "{text}", "ram": 1, "vcpus": 1, "disk": 1, "swap": 0, "rxtx_factor": 1.0,
        "description": "d", "OS-FLV-EXT-DATA:ephemeral": 0, "os-flavor-access:is_public": True,
    }}),
    ("POST", f"{CO}/flavors/{{flavor}}/os-extra_specs", {"extra_specs": {"resources:CUSTOM_X": "1"}}),
    ("POST", f"{CO}/os-aggregates", {"aggregate": {"name": "{text}", "availability_zone": "z"}}),
    ("PUT", f"{CO}/os-quota-sets/{{project}}", {"quota_set": {"instances": 5, "cores": -1, "force": True}}),
    ("POST", f"{CO}/os-server-external-events", {"events": [
        {"name": "network-changed", "server_uuid": "{server}", "tag": "t", "status": "completed"}]}),
    ("POST", f"{IM}/images", {
        "name": "{text}", "disk_format": "raw", "container_format": "bare", "min_disk": 1, "min_ram": 1,
        "tags": ["a"], "os_distro": "d", "owner": "{project}", "visibility": "private", "protected": False,
    }),
    ("PATCH", f"{IM}/images/{{image}}", [{"op": "add", "path": "/prop", "value": "v"}]),
    ("PATCH", f"{IM}/images/{{image}}", [{"op": "replace", "path": "/name", "value": "v"}]),
    ("PUT", f"{IM}/images/{{image}}/tags/t", None),
    ("POST", f"{IM}/images/{{image}}/members", {"member": "{project}"}),
    ("POST", f"{IM}/images/{{image}}/import", {"method": {"name": "web-download", "uri": "http://h/x"}}),
    ("POST", f"{NET}/networks", {"network": {
        "name": "{text}", "description": "d", "admin_state_up": True, "shared": False, "mtu": 1400,
        "provider:network_type": "vlan", "provider:physical_network": "p", "provider:segmentation_id": 5,
        "dns_domain": "a.b.", "availability_zone_hints": [], "project_id": "{project}",
    }}),
    ("POST", f"{NET}/subnets", {"subnet": {
        "network_id": "{network}", "ip_version": 4, "cidr": "10.9.0.0/24", "gateway_ip": "10.9.0.1",
        "dns_nameservers": ["8.8.8.8"], "host_routes": [{"destination": "10.0.0.0/8", "nexthop": "10.9.0.2"}],
        "allocation_pools": [{"start": "10.9.0.5", "end": "10.9.0.9"}], "name": "{text}", "description": "d",
    }}),
    ("POST", f"{NET}/ports", {"port": {
        "network_id": "{network}", "name": "{text}", "mac_address": "52:54:00:cc:00:01", "device_id": "d",
        "fixed_ips": [{"subnet_id": "x", "ip_address": "10.8.0.30"}], "security_groups": ["{group}"],
        "allowed_address_pairs": [{"ip_address": "1.1.1.1", "mac_address": "52:54:00:cc:00:02"}],
        "extra_dhcp_opts": [{"opt_name": "a", "opt_value": "b"}], "binding:profile": {"a": "b"},
        "binding:host_id": "h", "binding:vnic_type": "baremetal", "dns_name": "a", "description": "d",
    }}),
    ("PUT", f"{NET}/ports/{{netport}}", {"port": {"name": "x", "device_owner": "o", "description": "d"}}),
    ("POST", f"{NET}/security-groups", {"security_group": {"name": "{text}", "description": "d"}}),
    ("POST", f"{NET}/security-group-rules", {"security_group_rule": {
        "security_group_id": "{group}", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 1, "port_range_max": 5, "remote_ip_prefix": "10.0.0.0/8", "description": "d",
    }}),
    ("PUT", f"{NET}/networks/{{network}}/tags", {"tags": ["a"]}),
    ("PUT", f"{NET}/quotas/{{project}}", {"quota": {"network": 5, "port": -1}}),
    ("POST", f"{ID}/users", {"user": {
        "name": "{text}", "domain_id": "default", "password": "p", "description": "d", "email": "e",
        "default_project_id": "{project}", "enabled": True, "options": {"lock_password": True}, "extra1": "x",
    }}),
    ("POST", f"{ID}/groups", {"group": {"name": "{text}", "domain_id": "default", "description": "d"}}),
    ("POST", f"{ID}/projects", {"project": {
        "name": "{text}", "domain_id": "default", "description": "d", "tags": ["a"], "options": {}, "x": "y",
        "parent_id": "default",
    }}),
    ("POST", f"{ID}/domains", {"domain": {"name": "{text}", "description": "d"}}),
    ("POST", f"{ID}/roles", {"role": {"name": "{text}", "description": "d", "options": {}}}),
    ("POST", f"{ID}/regions", {"region": {"id": "{text}", "description": "d", "parent_region_id": None}}),
    ("POST", f"{ID}/services", {"service": {"type": "{text}", "name": "n", "description": "d", "x": "y"}}),
    ("PUT", f"{ID}/projects/{{project}}/tags", {"tags": ["a"]}),
    ("POST", f"{ID}/auth/tokens", {"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "demo", "domain": {"id": "default"}, "password": "x"}}}, "scope": {"project": {"id": "{project}"}}}}),
    ("POST", f"{ID}/users/{{user}}/application_credentials", {"application_credential": {
        "name": "{text}", "description": "d", "secret": "s", "expires_at": "2030-01-01T00:00:00Z",
        "access_rules": [{"path": "/v2.1/servers", "method": "GET", "service": "compute"}],
    }}),
    ("POST", f"{ID}/credentials", {"credential": {"type": "cert", "blob": "x", "user_id": "{user}"}}),
)  # fmt: skip
#: The same for the provisioning listener, without a token.
BOOT: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/lookup?addresses=52:54:00:00:00:01&node_uuid={node}", None),
    ("POST", "/v1/heartbeat/{node}", {
        "callback_url": "http://10.0.0.1:9999", "agent_version": "9", "agent_token": "t", "agent_status": "start",
        "agent_status_message": "m", "agent_verify_ca": "-----BEGIN CERTIFICATE-----",
    }),
    ("POST", "/v1/continue_inspection?node_uuid={node}", {
        "inventory": {
            "interfaces": [{"name": "eth0", "mac_address": "52:54:00:00:00:01", "ipv4_address": "10.0.0.1",
                            "lldp": [[1, "04112233aabbcc"]], "has_carrier": True, "client_id": None}],
            "cpu": {"count": 4, "architecture": "x86_64", "flags": ["vmx"], "model_name": "m", "frequency": "1"},
            "memory": {"physical_mb": 10, "total": 10}, "disks": [{"name": "/dev/sda", "size": 10, "wwn": "w"}],
            "boot": {"current_boot_mode": "uefi", "pxe_interface": "52:54:00:00:00:01"},
            "bmc_address": "10.0.0.2", "bmc_v6address": "::1", "hostname": "h", "bmc_mac": "52:54:00:00:00:02",
            "system_vendor": {"product_name": "p", "serial_number": "s", "manufacturer": "m"},
        },
        "boot_interface": "52:54:00:00:00:01", "error": "e", "pci_devices": [{"vendor_id": "a", "product_id": "b"}],
        "root_disk": {"name": "/dev/sda"}, "numa_topology": {"ram": []}, "configuration": {}, "logs": "YQ==",
    }),
    ("GET", "/boot/52:54:00:00:00:01", None),
    ("GET", "/boot.ipxe?mac=52:54:00:00:00:01", None),
)  # fmt: skip
