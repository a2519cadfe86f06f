"""Options of domains (`/v3/domains/{id}/config`).

They are kept and shown, and change nothing: users of all domains are in this cloud's own database, there is no LDAP.
A sensitive option is sealed, and never shown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import domain_store, schemas
from ingot.services.identity.api.common import guarded, need_domain

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

Config = dict[str, dict[str, Any]]

_LDAP = (
    "url user suffix query_scope page_size alias_dereferencing debug_level chase_referrals user_tree_dn user_filter "
    "user_objectclass user_id_attribute user_name_attribute user_mail_attribute user_description_attribute "
    "user_pass_attribute user_enabled_attribute user_enabled_invert user_enabled_mask user_enabled_default "
    "user_attribute_ignore user_default_project_id_attribute user_enabled_emulation user_enabled_emulation_dn "
    "user_enabled_emulation_use_group_config user_additional_attribute_mapping group_tree_dn group_filter "
    "group_objectclass group_id_attribute group_name_attribute group_members_are_ids group_member_attribute "
    "group_desc_attribute group_attribute_ignore group_additional_attribute_mapping tls_cacertfile tls_cacertdir "
    "use_tls tls_req_cert use_pool pool_size pool_retry_max pool_retry_delay pool_connection_timeout "
    "pool_connection_lifetime use_auth_pool auth_pool_size auth_pool_connection_lifetime"
)
#: What a domain may say, by group. Source: Keystone's administration guide, "Domain-specific configuration".
OPTIONS = {"identity": frozenset({"driver", "list_limit"}), "ldap": frozenset(_LDAP.split())}
SENSITIVE = {"ldap": frozenset({"password"})}


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _Configs(identity)
    found: list[Operation] = []
    for tail in ("", "/{group}", "/{group}/{option}"):
        default, own = (
            f"/v3/domains/config{tail}/default",
            f"/v3/domains/{{domain_id}}/config{tail}",
        )
        body = schemas.ConfigBody
        found += [
            guarded("GET", default, api.default, "get_domain_config_default", reply=body),
            guarded("GET", own, api.show, "get_domain_config", reply=body),
            guarded("PATCH", own, api.update, "update_domain_config", body=body, reply=body),
            guarded("DELETE", own, api.delete, "delete_domain_config", 204),
        ]
    path = "/v3/domains/{domain_id}/config"
    body = schemas.ConfigBody
    found.append(
        guarded(
            "PUT",
            path,
            api.replace,
            "create_domain_config",
            201,
            also=(200,),
            body=body,
            reply=body,
        )
    )
    return found


class _Configs:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @staticmethod
    def _place(call: Call) -> tuple[str, str]:
        """Group and option that the path names; Forbidden for those that no domain has."""
        group, option = call.params.get("group", ""), call.params.get("option", "")
        _check(group, option)
        return group, option

    async def default(self, call: Call) -> Reply:
        call.require("identity:get_domain_config_default")
        group, option = self._place(call)
        if option in SENSITIVE.get(group, ()):
            raise Forbidden(f"The option {option} is never shown.")
        whole: Config = {name: dict.fromkeys(sorted(names)) for name, names in OPTIONS.items()}
        return Reply({"config": _part(whole, group, option)})

    async def show(self, call: Call) -> Reply:
        call.require("identity:get_domain_config")
        group, option = self._place(call)

        def find(conn: sa.Connection) -> domain_store.Options:
            domain_id = need_domain(conn, call.params["domain_id"])["id"]
            return domain_store.options(conn, domain_id, group, option)

        return Reply({"config": self._shown(await self._identity.db.read(find), group, option)})

    async def replace(self, call: Call) -> Reply:
        call.require("identity:create_domain_config")
        values = self._sealed(_read(call.body.config, "", ""))

        def write(conn: sa.Connection) -> bool:
            domain_id = need_domain(conn, call.params["domain_id"])["id"]
            had = domain_store.remove(conn, domain_id) > 0
            domain_store.put(conn, domain_id, values)
            return had

        had = await self._identity.write(write)
        return Reply({"config": self._shown(values, "", "")}, status=200 if had else 201)

    async def update(self, call: Call) -> Reply:
        call.require("identity:update_domain_config")
        group, option = self._place(call)
        values = self._sealed(_read(call.body.config, group, option))

        def write(conn: sa.Connection) -> domain_store.Options:
            domain_id = need_domain(conn, call.params["domain_id"])["id"]
            if not domain_store.options(conn, domain_id, group, option):
                raise _missing(group, option)
            domain_store.put(conn, domain_id, values)
            return domain_store.options(conn, domain_id)

        return Reply({"config": self._shown(await self._identity.write(write), "", "")})

    async def delete(self, call: Call) -> None:
        call.require("identity:delete_domain_config")
        group, option = self._place(call)

        def write(conn: sa.Connection) -> None:
            domain_id = need_domain(conn, call.params["domain_id"])["id"]
            if not domain_store.remove(conn, domain_id, group, option):
                raise _missing(group, option)

        await self._identity.write(write)

    def _sealed(self, config: Config) -> domain_store.Options:
        seal = self._identity.vault.seal
        return {
            (group, option): seal(json.dumps(value))
            if _secret(group, option)
            else json.dumps(value)
            for group, options in config.items()
            for option, value in options.items()
        }

    @staticmethod
    def _shown(found: domain_store.Options, group: str, option: str) -> Any:
        """What may be shown of options, below the path's own place; Missing where there is nothing at all."""
        if not found:
            raise _missing(group, option)
        config: Config = {}
        for (name, key), value in sorted(found.items()):
            if not _secret(name, key):
                config.setdefault(name, {})[key] = json.loads(value)
        if option and not config:
            raise _missing(group, option)
        return _part(config, group, option)


def _secret(group: str, option: str) -> bool:
    return option in SENSITIVE.get(group, ())


def _missing(group: str, option: str) -> Missing:
    where = f" for {option or group}" if group else ""
    return Missing(f"Could not find domain configuration{where}.")


def _check(group: str, option: str) -> None:
    if group and group not in OPTIONS:
        raise Forbidden(
            f"Invalid domain specific configuration: the group {group} is not supported."
        )
    if option and option not in OPTIONS[group] and not _secret(group, option):
        raise Forbidden(
            f"Invalid domain specific configuration: {option} in {group} is not supported."
        )


def _part(config: Config, group: str, option: str) -> Any:
    if option:
        return {option: config.get(group, {}).get(option)}
    return {group: config.get(group, {})} if group else config


def _read(given: dict[str, Any], group: str, option: str) -> Config:
    """The options of a body, in their groups; a path that names group or option must have just those in its body."""
    if option:
        if set(given) != {option}:
            raise Forbidden(f"The body must have {option}, and nothing else.")
        config: Config = {group: given}
    else:
        if group and set(given) != {group}:
            raise Forbidden(f"The body must have {group}, and nothing else.")
        config = cast("Config", given)
    if not config:
        raise Forbidden("Invalid domain specific configuration: no options specified.")
    for name, options in config.items():
        _check(name, "")
        if not isinstance(cast("object", options), dict) or not options:
            raise Invalid(f"The group {name} must be an object with options.")
        for key in options:
            _check(name, key)
    return config
