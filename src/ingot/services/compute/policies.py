"""Who may do what with servers: the Compute API's own rule names with upstream's defaults."""

from __future__ import annotations

from collections.abc import Mapping

_ADMIN = "rule:context_is_admin"
_MEMBER = "rule:project_member_or_admin"
_READER = "rule:project_reader_or_admin"
_ANY = "@"

_P = "os_compute_api:"

_READ = (
    "servers:detail servers:index servers:show ips:index ips:show server-metadata:index "
    "server-metadata:show os-server-tags:index os-server-tags:show os-attach-interfaces:list "
    "os-attach-interfaces:show os-instance-actions:list os-instance-actions:show limits "
    "os-security-groups:list os-server-groups:index os-server-groups:show os-quota-sets:show "
    "os-quota-sets:detail servers:show:flavor-extra-specs os-flavor-extra-specs:index "
    "os-flavor-extra-specs:show os-volumes-attachments:index"
)
_WRITE = (
    "servers:create servers:delete servers:update servers:rebuild servers:reboot servers:start "
    "servers:stop servers:create_image servers:resize servers:confirm_resize "
    "servers:revert_resize servers:create:attach_network servers:create:trusted_certs "
    "os-console-output os-rescue os-unrescue os-lock-server:lock os-lock-server:unlock "
    "server-metadata:create server-metadata:delete server-metadata:update "
    "server-metadata:update_all os-server-tags:delete os-server-tags:delete_all "
    "os-server-tags:update os-server-tags:update_all os-security-groups:add "
    "os-security-groups:remove os-attach-interfaces:create os-attach-interfaces:delete "
    "os-server-groups:create os-server-groups:delete os-pause-server:pause "
    "os-pause-server:unpause os-suspend-server:suspend os-suspend-server:resume "
    "os-shelve:shelve os-shelve:unshelve os-admin-password os-create-backup "
    "os-deferred-delete:force os-deferred-delete:restore os-remote-consoles "
    "os-volumes-attachments:create servers:trigger_crash_dump"
)
_ADMINS = (
    "servers:index:get_all_tenants servers:detail:get_all_tenants servers:allow_all_filters "
    "servers:show:host_status servers:create:forced_host compute:servers:create:requested_destination "
    "os-extended-server-attributes os-lock-server:unlock:unlock_override "
    "os-flavor-manage:create os-flavor-manage:update os-flavor-manage:delete "
    "os-flavor-access os-flavor-access:add_tenant_access os-flavor-access:remove_tenant_access "
    "os-flavor-extra-specs:create os-flavor-extra-specs:update os-flavor-extra-specs:delete "
    "os-instance-actions:events:details os-hypervisors:list os-hypervisors:list-detail "
    "os-hypervisors:show os-hypervisors:statistics os-services:list os-availability-zone:detail "
    "os-quota-sets:update os-quota-sets:delete os-server-groups:index:all_projects "
    "limits:other_project os-admin-actions:reset_state os-shelve:shelve_offload "
    "os-migrate-server:migrate os-migrate-server:migrate_live os-evacuate"
)
_KEYS = "(rule:context_is_admin) or user_id:%(user_id)s"

RULES: Mapping[str, str] = {
    "context_is_admin": "role:admin",
    "project_member_or_admin": "rule:project_member_api or rule:context_is_admin",
    "project_reader_or_admin": "rule:project_reader_api or rule:context_is_admin",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_reader_api": "(role:reader or role:member) and project_id:%(project_id)s",
    **{_P + name: _READER for name in _READ.split()},
    **{_P + name: _MEMBER for name in _WRITE.split()},
    **{(name if name.startswith("compute:") else _P + name): _ADMIN for name in _ADMINS.split()},
    # Whether a member sees the steps of an action.
    _P + "os-instance-actions:events": _READER,
    **{_P + f"os-keypairs:{verb}": _KEYS for verb in ("index", "show", "create", "delete")},
    _P + "os-availability-zone:list": _ANY,
    _P + "os-quota-sets:defaults": _ANY,
    _P + "flavors": _ANY,
    _P + "extensions": _ANY,
}
