"""Bodies with which operations reach the check of rights, and rows that the operations alone do not give.

{x} is the id of this side's x (of nothing for what is missing); bytes are sent as they are.
"""

from __future__ import annotations

from typing import Any

#: What stands in a path for a parameter that is no thing of anybody's.
KEY = "01234567-89ab-4def-8123-456789abcdef"
_STEP = {"interface": "bios", "step": "factory_reset", "args": {}, "priority": 1}
_EXTRA = [{"op": "add", "path": "/extra/a", "value": "b"}]
_RUN = {"interface": "bios", "step": "factory_reset", "args": {}, "order": 1}
_RULE = {"actions": [{"op": "set-attribute", "args": {"path": "extra/a", "value": "b"}}]}

_IDENTITY: dict[tuple[str, str], Any] = {
    ("POST", "/v3/users"): {"user": {"name": "new", "domain_id": "{domains}"}},
    ("POST", "/v3/groups"): {"group": {"name": "new", "domain_id": "{domains}"}},
    ("POST", "/v3/projects"): {"project": {"name": "new", "domain_id": "{domains}"}},
    ("POST", "/v3/domains"): {"domain": {"name": "new"}},
    ("POST", "/v3/roles"): {"role": {"name": "new"}},
    ("POST", "/v3/regions"): {"region": {"id": "new"}},
    ("POST", "/v3/services"): {"service": {"type": "new"}},
    ("POST", "/v3/endpoints"): {
        "endpoint": {"service_id": "{services}", "interface": "admin", "url": "http://x.example"}
    },
    ("PATCH", "/v3/users/{user_id}"): {"user": {"description": "d"}},
    ("PATCH", "/v3/groups/{group_id}"): {"group": {"description": "d"}},
    ("PATCH", "/v3/projects/{project_id}"): {"project": {"description": "d"}},
    ("PATCH", "/v3/domains/{domain_id}"): {"domain": {"description": "d"}},
    ("PATCH", "/v3/roles/{role_id}"): {"role": {"description": "d"}},
    ("PATCH", "/v3/regions/{region_id}"): {"region": {"description": "d"}},
    ("PATCH", "/v3/services/{service_id}"): {"service": {"description": "d"}},
    ("PATCH", "/v3/endpoints/{endpoint_id}"): {"endpoint": {"url": "http://y.example"}},
    ("PUT", "/v3/projects/{project_id}/tags"): {"tags": ["a"]},
    ("POST", "/v3/users/{user_id}/application_credentials"): {
        "application_credential": {"name": "new"}
    },
    ("POST", "/v3/credentials"): {
        "credential": {"type": "totp", "blob": "c", "user_id": "{member}"}
    },
    ("PATCH", "/v3/credentials/{credential_id}"): {"credential": {"blob": "d"}},
    ("POST", "/v3/users/{user_id}/credentials/OS-EC2"): {"tenant_id": "{projects}"},
    ("PUT", "/v3/regions/{region_id}"): {"region": {"description": "d"}},
    ("POST", "/v3/OS-EP-FILTER/endpoint_groups"): {
        "endpoint_group": {"name": "new", "filters": {"interface": "public"}}
    },
    ("PATCH", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}"): {
        "endpoint_group": {"name": "other"}
    },
    ("PUT", "/v3/domains/{domain_id}/config"): {"config": {"ldap": {"url": "u"}}},
    ("PATCH", "/v3/domains/{domain_id}/config"): {"config": {"ldap": {"url": "v"}}},
    ("PATCH", "/v3/domains/{domain_id}/config/{group}"): {"config": {"ldap": {"url": "v"}}},
    ("PATCH", "/v3/domains/{domain_id}/config/{group}/{option}"): {"config": {"url": "v"}},
    ("POST", "/v3/OS-TRUST/trusts"): {
        "trust": {
            "trustor_user_id": "{member}",
            "trustee_user_id": "{reader}",
            "impersonation": True,
            "project_id": "{projects}",
            "roles": [{"name": "member"}],
        }
    },
    ("POST", "/v3/registered_limits"): {
        "registered_limits": [
            {"service_id": "{services}", "resource_name": "new", "default_limit": 1}
        ]
    },
    ("PATCH", "/v3/registered_limits/{registered_limit_id}"): {
        "registered_limit": {"default_limit": 2}
    },
    ("POST", "/v3/limits"): {
        "limits": [
            {
                "service_id": "{services}",
                "resource_name": "more",
                "resource_limit": 1,
                "project_id": "{projects}",
            }
        ]
    },
    ("PATCH", "/v3/limits/{limit_id}"): {"limit": {"resource_limit": 2}},
    ("POST", "/v3/ec2tokens"): {
        "credentials": {"access": "a", "signature": "s", "params": {"SignatureVersion": "2"}}
    },
}
_IMAGE: dict[tuple[str, str], Any] = {
    ("POST", "/v2/images"): {"name": "new", "owner": "{projects}"},
    ("PATCH", "/v2/images/{image_id}"): [{"op": "add", "path": "/a", "value": "b"}],
    ("PUT", "/v2/images/{image_id}/file"): b"octets",
    ("PUT", "/v2/images/{image_id}/stage"): b"octets",
    ("POST", "/v2/images/{image_id}/import"): {
        "method": {"name": "web-download", "uri": "http://x.example/i"}
    },
    ("POST", "/v2/images/{image_id}/members"): {"member": "{projects}"},
    ("PUT", "/v2/images/{image_id}/members/{member_id}"): {"status": "accepted"},
}
_NETWORK: dict[tuple[str, str], Any] = {
    ("POST", "/v2.0/security-groups"): {
        "security_group": {"name": "new", "project_id": "{projects}"}
    },
    ("PUT", "/v2.0/security-groups/{id}"): {"security_group": {"description": "d"}},
    ("POST", "/v2.0/security-group-rules"): {
        "security_group_rule": {
            "security_group_id": "{security-groups}", "direction": "ingress", "protocol": "tcp",
            "port_range_min": 5, "port_range_max": 5,
        }
    },
    ("PUT", "/v2.0/security-group-rules/{id}"): {"security_group_rule": {"description": "d"}},
    ("POST", "/v2.0/ports"): {"port": {"network_id": "{networks}"}},
    ("PUT", "/v2.0/ports/{id}"): {"port": {"name": "x"}},
    ("POST", "/v2.0/networks"): {
        "network": {"name": "new", "provider:network_type": "flat", "provider:physical_network": "p9"}
    },
    ("PUT", "/v2.0/networks/{id}"): {"network": {"name": "x"}},
    ("POST", "/v2.0/subnets"): {
        "subnet": {"network_id": "{networks}", "ip_version": 4, "cidr": "198.51.100.0/24"}
    },
    ("PUT", "/v2.0/subnets/{id}"): {"subnet": {"name": "x"}},
    **{
        ("PUT", f"/v2.0/{kind}/{{id}}/tags"): {"tags": ["a"]}
        for kind in ("networks", "subnets", "ports", "security-groups")
    },
}  # fmt: skip
_BAREMETAL: dict[tuple[str, str], Any] = {
    ("POST", "/v1/nodes"): {"driver": "fake-hardware"},
    ("PATCH", "/v1/nodes/{id}"): _EXTRA,
    ("PUT", "/v1/nodes/{id}/maintenance"): {"reason": "r"},
    ("POST", "/v1/ports"): {"address": "02:00:00:00:09:09", "node_uuid": "{nodes}"},
    ("PATCH", "/v1/ports/{id}"): _EXTRA,
    ("POST", "/v1/portgroups"): {"address": "02:00:00:00:09:0a", "node_uuid": "{nodes}"},
    ("PATCH", "/v1/portgroups/{id}"): _EXTRA,
    ("PATCH", "/v1/chassis/{id}"): _EXTRA,
    ("POST", "/v1/volume/connectors"): {
        "type": "iqn", "connector_id": "iqn.new", "node_uuid": "{nodes}"
    },
    ("PATCH", "/v1/volume/connectors/{id}"): _EXTRA,
    ("POST", "/v1/volume/targets"): {
        "volume_type": "iscsi", "volume_id": "w", "boot_index": 1, "node_uuid": "{nodes}"
    },
    ("PATCH", "/v1/volume/targets/{id}"): _EXTRA,
    ("POST", "/v1/allocations"): {"resource_class": "gold"},
    ("PATCH", "/v1/allocations/{id}"): _EXTRA,
    ("POST", "/v1/deploy_templates"): {"name": "CUSTOM_NEW", "steps": [_STEP]},
    ("PATCH", "/v1/deploy_templates/{id}"): _EXTRA,
    ("POST", "/v1/runbooks"): {"name": "CUSTOM_NEW", "steps": [_RUN]},
    ("PATCH", "/v1/runbooks/{id}"): _EXTRA,
    ("POST", "/v1/inspection_rules"): _RULE,
    ("PATCH", "/v1/inspection_rules/{id}"): [
        {"op": "replace", "path": "/description", "value": "d"}
    ],
    ("POST", "/v1/events"): {"events": [{
        "event": "network.bind_port", "port_id": "{ports}", "mac_address": "02:00:00:00:00:01",
        "status": "ACTIVE", "device_id": "{nodes}", "binding:host_id": "{nodes}",
    }]},
    ("PUT", "/v1/nodes/{id}/states/power"): {"target": "power on"},
    ("PUT", "/v1/nodes/{id}/states/provision"): {"target": "manage"},
    ("PUT", "/v1/nodes/{id}/states/console"): {"enabled": True},
    ("PUT", "/v1/nodes/{id}/states/boot_mode"): {"target": "uefi"},
    ("PUT", "/v1/nodes/{id}/states/secure_boot"): {"target": True},
    ("PUT", "/v1/nodes/{id}/management/boot_device"): {"boot_device": "pxe"},
    ("PUT", "/v1/nodes/{id}/management/indicators/{indicator}"): {"state": "on"},
    ("POST", "/v1/nodes/{id}/vmedia"): {"device_type": "cdrom", "image_url": "http://x.example/i"},
    ("PUT", "/v1/nodes/{id}/traits"): {"traits": ["CUSTOM_B"]},
    ("POST", "/v1/nodes/{id}/vifs"): {"id": "{ports}"},
    ("POST", "/v1/nodes/{id}/vendor_passthru/{method}"): {"bar": "meow"},
}  # fmt: skip
_COMPUTE: dict[tuple[str, str], Any] = {
    ("POST", "/v2.1/servers"): {
        "server": {"name": "new", "flavorRef": "f1", "imageRef": "{images}", "networks": [{"uuid": "{networks}"}]}
    },
    ("POST", "/v2.1/servers/{id}/action"): {"reboot": {"type": "HARD"}},
    ("POST", "/v2.1/servers/{id}/metadata"): {"metadata": {"a": "b"}},
    ("PUT", "/v2.1/servers/{id}/metadata"): {"metadata": {"a": "b"}},
    ("PUT", "/v2.1/servers/{id}/metadata/{key}"): {"meta": {KEY: "b"}},
    ("PUT", "/v2.1/servers/{id}/tags"): {"tags": ["a"]},
    ("POST", "/v2.1/servers/{id}/os-interface"): {"interfaceAttachment": {"port_id": "{ports}"}},
    ("POST", "/v2.1/servers/{id}/remote-consoles"): {
        "remote_console": {"protocol": "serial", "type": "serial"}
    },
    ("PUT", "/v2.1/servers/{id}"): {"server": {"name": "x"}},
    ("POST", "/v2.1/os-keypairs"): {"keypair": {"name": "new", "type": "ssh", "public_key": "{public_key}"}},
    ("POST", "/v2.1/os-server-groups"): {"server_group": {"name": "new", "policy": "affinity"}},
    ("POST", "/v2.1/flavors"): {"flavor": {"name": "new", "ram": 1, "vcpus": 1, "disk": 1}},
    ("PUT", "/v2.1/flavors/{id}"): {"flavor": {"description": "d"}},
    ("POST", "/v2.1/flavors/{id}/action"): {"addTenantAccess": {"tenant": "{projects}"}},
    ("POST", "/v2.1/flavors/{id}/os-extra_specs"): {"extra_specs": {"a": "b"}},
    ("PUT", "/v2.1/flavors/{id}/os-extra_specs/{key}"): {KEY: "b"},
    ("PUT", "/v2.1/os-quota-sets/{id}"): {"quota_set": {"instances": 5}},
}  # fmt: skip
#: Of the machines: to the provisioning listener nobody's token means anything.
_PROVISIONING: dict[tuple[str, str], Any] = {
    ("POST", "/v1/heartbeat/{id}"): {
        "callback_url": "https://192.0.2.1:9999", "agent_version": "9", "agent_token": "of-nobody"
    },
    ("POST", "/v1/heartbeat"): {
        "callback_url": "https://192.0.2.1:9999", "agent_version": "9", "agent_token": "of-nobody"
    },
    ("POST", "/v1/continue_inspection"): {
        "inventory": {"interfaces": [{"name": "eth0", "mac_address": "{provisioning/boot}"}]}
    },
}  # fmt: skip
#: By service, method and path.
BODIES: dict[tuple[str, str, str], Any] = {
    (service, *row): body
    for service, rows in (
        ("identity", _IDENTITY), ("image", _IMAGE), ("network", _NETWORK), ("baremetal", _BAREMETAL),
        ("compute", _COMPUTE), ("provisioning", _PROVISIONING),
    )
    for row, body in rows.items()
}  # fmt: skip
#: Service, method, path with {kinds of ids}, body: what is asked by query, by share, or without an end.
MORE: tuple[tuple[str, str, str, Any], ...] = (
    ("image", "GET", "/image/v2/images/{shares}", None),
    ("image", "PATCH", "/image/v2/images/{shares}", [{"op": "add", "path": "/a", "value": "b"}]),
    ("image", "DELETE", "/image/v2/images/{shares}", None),
    ("image", "GET", "/image/v2/images/{shares}/file", None),
    ("image", "GET", "/image/v2/images/{shares}/members", None),
    ("image", "GET", "/image/v2/images/{shares}/members/{sharer}", None),
    ("image", "PUT", "/image/v2/images/{shares}/members/{sharer}", {"status": "accepted"}),
    ("image", "DELETE", "/image/v2/images/{shares}/members/{sharer}", None),
    ("image", "POST", "/image/v2/images/{shares}/members", {"member": "{domains}"}),
    ("compute", "GET", "/compute/v2.1/os-keypairs?user_id={member}", None),
    ("compute", "GET", "/compute/v2.1/os-keypairs/{os-keypairs}?user_id={member}", None),
    ("compute", "DELETE", "/compute/v2.1/os-keypairs/{os-keypairs}?user_id={member}", None),
    ("compute", "POST", "/compute/v2.1/os-keypairs", {
        "keypair": {"name": "of-another", "type": "ssh", "public_key": "{public_key}", "user_id": "{member}"}}),
    ("compute", "GET", "/compute/v2.1/servers/detail?all_tenants=1&project_id={projects}", None),
    *(("compute", "POST", "/compute/v2.1/servers/{servers}/action", body) for body in (
        {"os-stop": None}, {"lock": None}, {"rebuild": {"imageRef": "{images}"}}, {"rescue": {}},
        {"os-getConsoleOutput": {}}, {"os-resetState": {"state": "error"}}, {"forceDelete": None},
    )),
    ("compute", "DELETE", "/compute/v2.1/servers/{servers}", None),
    ("baremetal", "GET", "/baremetal/v1/nodes/validate?node_uuid={nodes}", None),
    ("timeline", "GET", "/timeline/v1/stream?subject=server:{servers}", None),
    ("timeline", "GET", "/timeline/v1/operations?subject=server:{servers}", None),
    ("console", "CONNECT", "/console", None),
    ("provisioning", "GET", "/v1/lookup?node_uuid={nodes}", None),
    ("provisioning", "GET", "/v1/lookup?addresses={provisioning/boot}", None),
    ("provisioning", "POST", "/v1/continue_inspection?node_uuid={nodes}", {
        "inventory": {"interfaces": [{"name": "eth0", "mac_address": "{provisioning/boot}"}]}}),
    ("house", "GET", "/metrics", None),
    ("house", "GET", "/healthz", None),
)  # fmt: skip
