"""Who may do what with machines: rule names and default decisions of the Bare Metal API.

Personas: the system's admin, member, reader and service; a project as owner or as lessee of a node with
its admin, manager, member, reader and service. Operators override rules by name.
Source: the Bare Metal service's sample policy; a test compares every decision with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.kit.auth.policy import Caller, Policy, Target


def _any(*parts: str) -> str:
    return " or ".join(f"({part})" for part in parts)


_OWNER = "project_id:%(node.owner)s"
_LESSEE = "project_id:%(node.lessee)s"
_EITHER = f"({_OWNER} or {_LESSEE})"

_SYSTEM_ADMIN = "role:admin and system_scope:all"
_SYSTEM_SERVICE = "role:service and system_scope:all"
_SYSTEM_MEMBER = "(role:member and system_scope:all) or rule:service_role"
_SYSTEM_READER = f"(role:reader and system_scope:all) or ({_SYSTEM_SERVICE}) or rule:service_role"
_OWNER_SERVICE = f"role:service and {_OWNER}"
_OWNER_ADMIN = f"role:admin and {_OWNER}"
_OWNER_MANAGER = f"role:manager and {_OWNER}"
_OWNER_MEMBER = f"role:member and {_OWNER}"
_LESSEE_ADMIN = f"role:admin and {_LESSEE}"
_LESSEE_MANAGER = f"role:manager and {_LESSEE}"

#: Everybody with a role that reads; what they see is limited by the query.
_ANY_READER = "role:reader or role:service"
_READ = _any(_SYSTEM_READER, f"role:reader and {_EITHER}", _OWNER_SERVICE)
_USE = _any(_SYSTEM_MEMBER, f"role:member and {_EITHER}", _SYSTEM_SERVICE)
_OPERATE = _any(
    _SYSTEM_MEMBER, _SYSTEM_SERVICE, _OWNER_MEMBER, _LESSEE_ADMIN, _LESSEE_MANAGER, _OWNER_SERVICE
)
_OWN_READ = _any(_SYSTEM_READER, _SYSTEM_SERVICE, f"role:reader and {_OWNER}", _OWNER_SERVICE)
_OWN_USE = _any(_SYSTEM_MEMBER, _SYSTEM_SERVICE, _OWNER_MEMBER, _OWNER_SERVICE)
_OWN_ADMIN = _any(_SYSTEM_MEMBER, _SYSTEM_SERVICE, _OWNER_ADMIN, _OWNER_MANAGER, _OWNER_SERVICE)
_ALLOCATION_OWNER = "project_id:%(allocation.owner)s"
_ALLOCATION_READ = _any(_SYSTEM_READER, f"role:reader and {_ALLOCATION_OWNER}")
_ALLOCATION_USE = _any(_SYSTEM_MEMBER, f"role:member and {_ALLOCATION_OWNER}")
_RUNBOOK_OWNER = "project_id:%(runbook.owner)s"
_RUNBOOK_READ = _any(_SYSTEM_READER, f"role:reader and {_RUNBOOK_OWNER}", "role:service")
_RUNBOOK_USE = _any(_SYSTEM_MEMBER, f"role:manager and {_RUNBOOK_OWNER}", "role:service")
_WIRE = _any(_SYSTEM_ADMIN, _SYSTEM_SERVICE, _OWNER_ADMIN, _OWNER_MANAGER, _OWNER_SERVICE)
_TENANT_ADMIN = _any(_OWN_ADMIN, _LESSEE_ADMIN, _LESSEE_MANAGER)

#: Rules of releases before scoped tokens. No route asks for them; operators' files may refer to them.
_LEGACY: dict[str, str] = {
    "admin_api": "role:admin or role:administrator",
    "public_api": "is_public_api:True",
    "is_member": "(project_domain_id:default or project_domain_id:None) and "
    "(project_name:demo or project_name:baremetal)",
    "is_observer": "rule:is_member and (role:observer or role:baremetal_observer)",
    "is_admin": "rule:admin_api or (rule:is_member and role:baremetal_admin)",
    "is_node_owner": _OWNER,
    "is_node_lessee": _LESSEE,
    "is_allocation_owner": _ALLOCATION_OWNER,
    "baremetal:allocation:create_pre_rbac": "(rule:is_member and role:baremetal_admin) or "
    "(is_admin_project:True and role:admin)",
}

#: Every rule that upstream has, by its name, with the same decision.
RULES: dict[str, str] = {
    **_LEGACY,
    "service_role": "role:service and project_name:%(config.service_project_name)s",
    "show_password": "!",
    "show_instance_secrets": "!",
    "baremetal:node:create": _any(_SYSTEM_ADMIN, _SYSTEM_SERVICE),
    "baremetal:node:create:self_owned_node": "role:admin or role:service",
    "baremetal:node:list": _ANY_READER,
    "baremetal:node:list_all": _SYSTEM_READER,
    "baremetal:node:get": _READ,
    "baremetal:node:get:filter_threshold": _SYSTEM_READER,
    "baremetal:node:get:last_error": _OWN_READ,
    "baremetal:node:get:reservation": _OWN_READ,
    "baremetal:node:get:driver_internal_info": _OWN_READ,
    "baremetal:node:get:driver_info": _OWN_READ,
    "baremetal:node:update": _USE,
    "baremetal:node:update_extra": _USE,
    "baremetal:node:update_instance_info": _OPERATE,
    "baremetal:node:update_owner_provisioned": _SYSTEM_ADMIN,
    "baremetal:node:update:driver_info": _OWN_USE,
    "baremetal:node:update:properties": _OWN_USE,
    "baremetal:node:update:chassis_uuid": _SYSTEM_ADMIN,
    "baremetal:node:update:instance_uuid": _OWN_USE,
    "baremetal:node:update:lessee": _OWN_USE,
    "baremetal:node:update:owner": _SYSTEM_MEMBER,
    "baremetal:node:update:driver_interfaces": _OWN_ADMIN,
    "baremetal:node:update:network_data": _OWN_USE,
    "baremetal:node:update:conductor_group": _SYSTEM_MEMBER,
    "baremetal:node:update:name": _OWN_USE,
    "baremetal:node:update:retired": _OWN_USE,
    "baremetal:node:update:shard": _SYSTEM_ADMIN,
    "baremetal:node:update:parent_node": _SYSTEM_MEMBER,
    "baremetal:node:update:disable_power_off": _SYSTEM_ADMIN,
    "baremetal:node:disable_cleaning": _SYSTEM_ADMIN,
    "baremetal:node:delete": _SYSTEM_ADMIN,
    "baremetal:node:delete:self_owned_node": _OWNER_ADMIN,
    "baremetal:node:validate": _OPERATE,
    "baremetal:node:set_maintenance": _OPERATE,
    "baremetal:node:clear_maintenance": _OPERATE,
    "baremetal:node:get_boot_device": _OWN_ADMIN,
    "baremetal:node:set_boot_device": _OWN_ADMIN,
    "baremetal:node:get_indicator_state": _READ,
    "baremetal:node:set_indicator_state": _OWN_USE,
    "baremetal:node:inject_nmi": _OWN_ADMIN,
    "baremetal:node:get_states": _READ,
    "baremetal:node:set_power_state": _USE,
    "baremetal:node:set_boot_mode": _USE,
    "baremetal:node:set_secure_boot": _USE,
    "baremetal:node:set_raid_state": _OWN_USE,
    "baremetal:node:get_console": _OWN_USE,
    "baremetal:node:set_console_state": _OWN_USE,
    "baremetal:node:set_provision_state": _OPERATE,
    "baremetal:node:set_provision_state:clean_steps": _OPERATE,
    "baremetal:node:set_provision_state:service_steps": _OPERATE,
    "baremetal:node:vif:list": _READ,
    "baremetal:node:vif:attach": _OPERATE,
    "baremetal:node:vif:detach": _OPERATE,
    "baremetal:node:traits:list": _READ,
    "baremetal:node:traits:set": _OWN_ADMIN,
    "baremetal:node:traits:delete": _OWN_ADMIN,
    "baremetal:node:bios:get": _READ,
    "baremetal:node:firmware:get": _READ,
    "baremetal:node:history:get": _OWN_READ,
    "baremetal:node:inventory:get": _OWN_READ,
    "baremetal:node:vmedia:attach": _USE,
    "baremetal:node:vmedia:detach": _USE,
    "baremetal:node:vmedia:get": _READ,
    "baremetal:node:vendor_passthru": _SYSTEM_ADMIN,
    "baremetal:node:ipa_heartbeat": "@",
    "baremetal:shards:get": _SYSTEM_READER,
    "baremetal:port:get": _READ,
    "baremetal:port:list": _ANY_READER,
    "baremetal:port:list_all": _SYSTEM_READER,
    "baremetal:port:create": _WIRE,
    "baremetal:port:delete": _WIRE,
    "baremetal:port:update": _OWN_ADMIN,
    "baremetal:portgroup:get": _READ,
    "baremetal:portgroup:list": _ANY_READER,
    "baremetal:portgroup:list_all": _SYSTEM_READER,
    "baremetal:portgroup:create": _WIRE,
    "baremetal:portgroup:delete": _WIRE,
    "baremetal:portgroup:update": _OWN_ADMIN,
    "baremetal:chassis:get": _SYSTEM_READER,
    "baremetal:chassis:create": _SYSTEM_ADMIN,
    "baremetal:chassis:delete": _SYSTEM_ADMIN,
    "baremetal:chassis:update": _SYSTEM_MEMBER,
    "baremetal:volume:get": _READ,
    "baremetal:volume:list": _ANY_READER,
    "baremetal:volume:list_all": _SYSTEM_READER,
    "baremetal:volume:create": _TENANT_ADMIN,
    "baremetal:volume:delete": _TENANT_ADMIN,
    "baremetal:volume:update": _OPERATE,
    "baremetal:volume:view_target_properties": _any(_SYSTEM_READER, "role:admin"),
    "baremetal:allocation:get": _ALLOCATION_READ,
    "baremetal:allocation:list": _ANY_READER,
    "baremetal:allocation:list_all": _SYSTEM_READER,
    "baremetal:allocation:create": _any(_SYSTEM_MEMBER, "role:member"),
    "baremetal:allocation:create_restricted": _SYSTEM_MEMBER,
    "baremetal:allocation:delete": _ALLOCATION_USE,
    "baremetal:allocation:update": _ALLOCATION_USE,
    "baremetal:deploy_template:get": _SYSTEM_READER,
    "baremetal:deploy_template:create": _SYSTEM_ADMIN,
    "baremetal:deploy_template:delete": _SYSTEM_ADMIN,
    "baremetal:deploy_template:update": _SYSTEM_ADMIN,
    "baremetal:runbook:get": _RUNBOOK_READ,
    "baremetal:runbook:list": _ANY_READER,
    "baremetal:runbook:list_all": _SYSTEM_READER,
    "baremetal:runbook:create": _any(_SYSTEM_MEMBER, "role:manager", "role:service"),
    "baremetal:runbook:delete": _RUNBOOK_USE,
    "baremetal:runbook:update": _RUNBOOK_USE,
    "baremetal:runbook:update:public": _SYSTEM_MEMBER,
    "baremetal:runbook:update:owner": _SYSTEM_MEMBER,
    "baremetal:runbook:use": _RUNBOOK_USE,
    "baremetal:events:post": _SYSTEM_ADMIN,
    "baremetal:driver:get": _SYSTEM_READER,
    "baremetal:driver:get_properties": _SYSTEM_READER,
    "baremetal:driver:get_raid_logical_disk_properties": _SYSTEM_READER,
    "baremetal:driver:vendor_passthru": _SYSTEM_ADMIN,
    "baremetal:driver:ipa_lookup": "@",
    "baremetal:driver:ipa_continue_inspection": "@",
    "baremetal:conductor:get": _SYSTEM_READER,
    "baremetal:inspection_rule:get": _SYSTEM_READER,
    "baremetal:inspection_rule:list_all": _SYSTEM_READER,
    "baremetal:inspection_rule:create": _SYSTEM_ADMIN,
    "baremetal:inspection_rule:update": _SYSTEM_ADMIN,
    "baremetal:inspection_rule:delete": _SYSTEM_ADMIN,
}

#: Rules about what belongs to no project: only tokens of scope system:all, whatever a file says.
SYSTEM_ONLY = frozenset(
    name
    for name in RULES
    if name.startswith(("baremetal:chassis:", "baremetal:driver:", "baremetal:events:"))
    and ":ipa_" not in name
) | {"baremetal:node:update_owner_provisioned"}

#: What a patch of an attribute needs; anything else needs node:update.
PATCH_RULES: dict[str, str] = {
    "instance_info": "baremetal:node:update_instance_info",
    "instance_name": "baremetal:node:update_instance_info",
    "extra": "baremetal:node:update_extra",
    "retired_reason": "baremetal:node:update:retired",
    "driver": "baremetal:node:update:driver_interfaces",
    **{
        name: f"baremetal:node:update:{name}"
        for name in (
            "driver_info",
            "properties",
            "chassis_uuid",
            "instance_uuid",
            "lessee",
            "owner",
            "network_data",
            "conductor_group",
            "name",
            "retired",
            "shard",
            "parent_node",
            "disable_power_off",
        )
    },
}


def patch_rule(root: str) -> str:
    """The rule for a change of an attribute (except switching automated cleaning off)."""
    if root.endswith("_interface"):
        return "baremetal:node:update:driver_interfaces"
    return PATCH_RULES.get(root, "baremetal:node:update")


def target(owner: str | None, lessee: str | None, service_project: str) -> Target:
    """What the rules of one node are decided on. service_project: "" when its role counts for nothing more."""
    return {
        "node.owner": owner,
        "node.lessee": lessee,
        "config.service_project_name": service_project or None,
    }


def owned(kind: str, owner: str | None, service_project: str) -> Target:
    """What the rules of one allocation or runbook are decided on."""
    return {f"{kind}.owner": owner, "config.service_project_name": service_project or None}


#: Wire name -> rule and what is shown to those who may not see it.
_REDACTED: dict[str, tuple[str, object]] = {
    "last_error": (
        "baremetal:node:get:last_error",
        "** Value Redacted - Requires baremetal:node:get:last_error permission. **",
    ),
    "reservation": (
        "baremetal:node:get:reservation",
        "** Redacted - requires baremetal:node:get:reservation permission. **",
    ),
    "driver_internal_info": (
        "baremetal:node:get:driver_internal_info",
        {
            "content": "** Redacted - Requires baremetal:node:get:driver_internal_info "
            "permission. **"
        },
    ),
    "driver_info": (
        "baremetal:node:get:driver_info",
        {"content": "** Redacted - requires baremetal:node:get:driver_info permission. **"},
    ),
}


@dataclass
class Redaction:
    """What one caller may not see, decided once per owner and lessee."""

    policy: Policy
    caller: Caller
    service_project: str
    _known: dict[tuple[str | None, str | None], dict[str, object]] = field(
        default_factory=dict[tuple[str | None, str | None], dict[str, object]]
    )
    everything: bool = False

    def __post_init__(self) -> None:
        anywhere = target(None, None, self.service_project)
        self.everything = self.policy.allows(
            "baremetal:node:get:filter_threshold", self.caller, anywhere
        )

    def of(self, owner: str | None, lessee: str | None) -> dict[str, object]:
        """Replacement values for the fields that the caller may not see of such a node."""
        if self.everything:
            return {}
        key = (owner, lessee)
        if key not in self._known:
            place = target(owner, lessee, self.service_project)
            allows: Callable[[str], bool] = lambda rule: self.policy.allows(  # noqa: E731
                rule, self.caller, place
            )
            self._known[key] = {
                name: instead for name, (rule, instead) in _REDACTED.items() if not allows(rule)
            }
        return self._known[key]
