"""Policy of the Identity API: upstream's names and defaults.

Source: Keystone's documentation, "Policies" (2025.2 defaults). `token.domain.id` is written `domain_id`
here, which is the same attribute. Targets are given as `target.<thing>.<attribute>`.
"""

from __future__ import annotations

_ADMIN = "rule:admin_required"
_SYSTEM_READER = "(role:reader and system_scope:all)"
_READ = f"{_ADMIN} or {_SYSTEM_READER}"


def _in_domain(role: str, place: str) -> str:
    return f"(role:{role} and domain_id:%({place})s)"


def _owned(thing: str) -> dict[str, str]:
    """The five verbs on users, groups or projects, with domain managers and readers."""
    place = f"target.{thing}.domain_id"
    read = f"{_READ} or {_in_domain('reader', place)}"
    write = f"{_ADMIN} or {_in_domain('manager', place)}"
    return {
        f"identity:get_{thing}": read,
        f"identity:list_{thing}s": f"{_READ} or {_in_domain('reader', 'target.domain_id')}",
        f"identity:create_{thing}": write,
        f"identity:update_{thing}": write,
        f"identity:delete_{thing}": write,
    }


def _plain(thing: str, read: str = _READ, plural: str = "") -> dict[str, str]:
    """The five verbs on something that only administrators change."""
    return {
        f"identity:get_{thing}": read,
        f"identity:list_{plural or thing + 's'}": read,
        f"identity:create_{thing}": _ADMIN,
        f"identity:update_{thing}": _ADMIN,
        f"identity:delete_{thing}": _ADMIN,
    }


_GRANT_PLACE = (
    "(domain_id:%(target.user.domain_id)s or domain_id:%(target.group.domain_id)s) and "
    "(domain_id:%(target.project.domain_id)s or domain_id:%(target.domain.id)s)"
)
_GRANT_READ = f"{_READ} or (role:reader and {_GRANT_PLACE})"
_GRANT_WRITE = f"{_ADMIN} or (role:manager and {_GRANT_PLACE} and rule:domain_managed_target_role)"
_BOTH = "domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s"
_OWN_APP_CRED = "user_id:%(target.user.id)s"

_TRUSTOR = "user_id:%(target.trust.trustor_user_id)s"
_TRUSTEE = "user_id:%(target.trust.trustee_user_id)s"
_OWN_CREDENTIAL = "user_id:%(target.credential.user_id)s"

RULES: dict[str, str] = {
    "admin_required": "role:admin",
    "service_role": "role:service",
    "service_or_admin": "rule:admin_required or rule:service_role",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "token_subject": "user_id:%(target.token.user_id)s",
    "domain_managed_target_role": (
        "'manager':%(target.role.name)s or 'member':%(target.role.name)s or "
        "'reader':%(target.role.name)s"
    ),
    # Tokens.
    "identity:validate_token": f"{_READ} or rule:service_role or rule:token_subject",
    "identity:check_token": f"{_READ} or rule:service_role or rule:token_subject",
    "identity:revoke_token": f"{_ADMIN} or rule:service_role or rule:token_subject",
    "identity:get_auth_catalog": "",
    "identity:get_auth_projects": "",
    "identity:get_auth_domains": "",
    "identity:get_auth_system": "",
    # Options of domains.
    "identity:get_domain_config": _READ,
    "identity:get_domain_config_default": _READ,
    "identity:create_domain_config": _ADMIN,
    "identity:update_domain_config": _ADMIN,
    "identity:delete_domain_config": _ADMIN,
    # Endpoints of projects.
    **_plain("endpoint_group"),
    **{
        f"identity:{verb}": _READ
        for verb in (
            "check_endpoint_in_project",
            "list_endpoints_for_project",
            "list_projects_for_endpoint",
            "list_endpoints_associated_with_endpoint_group",
            "list_projects_associated_with_endpoint_group",
            "list_endpoint_groups_for_project",
            "get_endpoint_group_in_project",
        )
    },
    **{
        f"identity:{verb}": _ADMIN
        for verb in (
            "add_endpoint_to_project",
            "remove_endpoint_from_project",
            "add_endpoint_group_to_project",
            "remove_endpoint_group_from_project",
        )
    },
    # People.
    **_owned("user"),
    "identity:get_user": (
        f"{_READ} or {_in_domain('reader', 'target.user.domain_id')} or user_id:%(target.user.id)s"
    ),
    "identity:list_user_projects": (
        f"{_READ} or {_in_domain('reader', 'target.user.domain_id')} or user_id:%(target.user.id)s"
    ),
    **_owned("group"),
    "identity:list_groups_for_user": (
        f"{_READ} or {_in_domain('reader', 'target.user.domain_id')} or user_id:%(target.user.id)s"
    ),
    "identity:list_users_in_group": f"{_READ} or {_in_domain('reader', 'target.group.domain_id')}",
    # Whose the group is and whose the user is: else a domain's manager would take strangers in and read them.
    "identity:check_user_in_group": f"{_READ} or (role:reader and {_BOTH})",
    "identity:add_user_to_group": f"{_ADMIN} or (role:manager and {_BOTH})",
    "identity:remove_user_from_group": f"{_ADMIN} or (role:manager and {_BOTH})",
    # Places.
    **_owned("project"),
    "identity:get_project": (
        f"{_READ} or {_in_domain('reader', 'target.project.domain_id')} or "
        "project_id:%(target.project.id)s"
    ),
    **{
        f"identity:{verb}": (
            f"{_READ} or {_in_domain('reader', 'target.project.domain_id')} or "
            "project_id:%(target.project.id)s"
        )
        for verb in ("get_project_tag", "list_project_tags")
    },
    **{
        f"identity:{verb}": f"{_ADMIN} or {_in_domain('manager', 'target.project.domain_id')}"
        for verb in (
            "create_project_tag",
            "update_project_tags",
            "delete_project_tag",
            "delete_project_tags",
        )
    },
    **_plain("domain"),
    "identity:get_domain": (
        f"{_READ} or {_in_domain('reader', 'target.domain.id')} or "
        "project_domain_id:%(target.domain.id)s"
    ),
    # Roles. Managers of a domain may look them up to assign them.
    **_plain("role", f"{_READ} or (role:manager and not domain_id:None)"),
    **{
        f"identity:{verb}": _READ
        for verb in ("get_implied_role", "list_implied_roles", "list_role_inference_rules")
    },
    "identity:check_implied_role": _READ,
    "identity:create_implied_role": _ADMIN,
    "identity:delete_implied_role": _ADMIN,
    "identity:check_grant": _GRANT_READ,
    "identity:list_grants": _GRANT_READ,
    "identity:create_grant": _GRANT_WRITE,
    "identity:revoke_grant": _GRANT_WRITE,
    **{
        f"identity:{verb}_system_grant_for_{actor}": rule
        for actor in ("user", "group")
        for verb, rule in (("check", _READ), ("create", _ADMIN), ("revoke", _ADMIN))
    },
    "identity:list_system_grants_for_user": _READ,
    "identity:list_system_grants_for_group": _READ,
    "identity:list_role_assignments": f"{_READ} or {_in_domain('reader', 'target.domain_id')}",
    # Application credentials are their owner's own; administrators may look and delete.
    "identity:get_application_credential": f"{_READ} or {_OWN_APP_CRED}",
    "identity:list_application_credentials": f"{_READ} or {_OWN_APP_CRED}",
    "identity:create_application_credential": _OWN_APP_CRED,
    "identity:delete_application_credential": f"{_ADMIN} or {_OWN_APP_CRED}",
    "identity:list_access_rules": f"{_READ} or {_OWN_APP_CRED}",
    # Credentials for other ways in. A list shows what the caller may see.
    "identity:get_credential": f"{_READ} or {_OWN_CREDENTIAL}",
    "identity:list_credentials": f"{_READ} or {_OWN_CREDENTIAL}",
    "identity:create_credential": f"{_ADMIN} or {_OWN_CREDENTIAL}",
    "identity:update_credential": f"{_ADMIN} or {_OWN_CREDENTIAL}",
    "identity:delete_credential": f"{_ADMIN} or {_OWN_CREDENTIAL}",
    "identity:ec2_get_credential": f"{_READ} or {_OWN_CREDENTIAL}",
    "identity:ec2_list_credentials": f"{_READ} or rule:owner",
    "identity:ec2_create_credential": f"{_ADMIN} or rule:owner",
    "identity:ec2_delete_credential": f"{_ADMIN} or {_OWN_CREDENTIAL}",
    # A token for whoever can show a signature: only services ask, for the request that one of them got.
    "identity:ec2tokens_validate": "rule:service_or_admin",
    # Unified limits. Whose limits a caller sees depends on the token's scope: its project, or its domain with all in it.
    "identity:see_all_limits": _READ,
    "identity:get_limit_model": "",
    **_plain("registered_limit", ""),
    **_plain("limit", ""),
    # Trusts.
    "identity:create_trust": "user_id:%(trust.trustor_user_id)s",
    "identity:list_trusts": _READ,
    "identity:list_trusts_for_trustor": f"{_READ} or {_TRUSTOR}",
    "identity:list_trusts_for_trustee": f"{_READ} or {_TRUSTEE}",
    "identity:get_trust": f"{_READ} or {_TRUSTOR} or {_TRUSTEE}",
    "identity:list_roles_for_trust": f"{_READ} or {_TRUSTOR} or {_TRUSTEE}",
    "identity:get_role_for_trust": f"{_READ} or {_TRUSTOR} or {_TRUSTEE}",
    "identity:delete_trust": f"{_ADMIN} or {_TRUSTOR}",
    # The catalogue. Regions may be read by everybody with a token.
    **_plain("region", ""),
    **_plain("service"),
    **_plain("endpoint"),
}
