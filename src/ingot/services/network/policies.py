"""Who may do what on networks: upstream's default rules for what is built here."""

from __future__ import annotations

from collections.abc import Mapping

_OWN = "rule:admin or rule:own_member"
_OWN_NET = "rule:admin or rule:service or (role:member and project_id:%(network_project_id)s)"
_ADMIN = "rule:admin or rule:service"

RULES: Mapping[str, str] = {
    "admin": "role:admin",
    "service": "role:service",
    "own_member": "role:member and project_id:%(project_id)s",
    # Seeing is a WHERE clause; this only says who may ask at all.
    "read": "rule:admin or rule:service or role:reader or role:member",
    "see_all": _ADMIN,
    # Whose ports somebody may put on a machine by the Bare Metal API: all, or those of the own project.
    "use_any_port": _ADMIN,
    "get_network:provider": _ADMIN,
    "get_port:binding": _ADMIN,
    "create_network": _OWN,
    "update_network": _OWN,
    "delete_network": _OWN,
    "create_network:shared": "rule:admin",
    "update_network:shared": "rule:admin",
    "create_network:external": "rule:admin",
    "update_network:external": "rule:admin",
    "create_network:is_default": "rule:admin",
    "update_network:is_default": "rule:admin",
    "create_network:network_type": "rule:admin",
    "create_network:physical_network": "rule:admin",
    "create_network:segmentation_id": "rule:admin",
    "update_network:network_type": "rule:admin",
    "update_network:physical_network": "rule:admin",
    "update_network:segmentation_id": "rule:admin",
    "create_subnet": _OWN_NET,
    "update_subnet": f"{_OWN_NET} or rule:own_member",
    "delete_subnet": f"{_OWN_NET} or rule:own_member",
    "create_port": "rule:admin or rule:service or rule:own_member",
    "update_port": "rule:admin or rule:service or rule:own_member",
    "delete_port": f"{_OWN_NET} or rule:own_member",
    "create_port:mac_address": _OWN_NET,
    "update_port:mac_address": _ADMIN,
    "create_port:ip_address": _OWN_NET,
    "update_port:ip_address": _OWN_NET,
    "create_port:network_owner": _OWN_NET,
    "update_port:network_owner": _OWN_NET,
    "create_port:allowed_address_pairs": _OWN_NET,
    "update_port:allowed_address_pairs": _OWN_NET,
    "create_port:port_security_enabled": _OWN_NET,
    "update_port:port_security_enabled": _OWN_NET,
    "create_port:host_id": _ADMIN,
    "update_port:host_id": _ADMIN,
    "create_port:profile": _ADMIN,
    "update_port:profile": _ADMIN,
    "create_security_group": _OWN,
    "update_security_group": _OWN,
    "delete_security_group": _OWN,
    "create_security_group_rule": _OWN,
    "update_security_group_rule": _OWN,
    "delete_security_group_rule": _OWN,
    "get_quota": "rule:admin or ((role:reader or role:member) and project_id:%(project_id)s)",
    "update_quota": "rule:admin",
    "get_agent": "rule:admin or (role:reader and system_scope:all)",
    "for_other_project": _ADMIN,
}
