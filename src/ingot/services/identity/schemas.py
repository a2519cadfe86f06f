"""Bodies that the Identity API takes.

Keystone keeps attributes that it does not know (`email` is the common one), so bodies of resources are
taken as objects and split by `split` into the known fields, which are checked, and the rest.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ingot.kit.faults import Invalid

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
ShortName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]
Key = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Text = Annotated[str, Meta(max_length=65535)]
Secret = Annotated[str, Meta(min_length=1, max_length=4096)]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^,/]*\Z")]
Tags = Annotated[list[Tag], Meta(max_length=80)]


# -- authentication ------------------------------------------------------------------------------


class Named(Struct):
    """A domain, project or user by id or name."""

    id: str | None = None
    name: str | None = None


class NamedIn(Struct):
    """The same with the domain that the name is in."""

    id: str | None = None
    name: str | None = None
    domain: Named | None = None


class PasswordUser(NamedIn):
    password: Annotated[str, Meta(max_length=4096)] | None = None


class PasswordMethod(Struct):
    user: PasswordUser


class TokenMethod(Struct):
    id: str


class AppCredMethod(Struct):
    secret: Annotated[str, Meta(max_length=4096)]
    id: str | None = None
    name: str | None = None
    user: NamedIn | None = None


class AuthIdentity(Struct):
    methods: Annotated[list[str], Meta(min_length=1, max_length=8)]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: AppCredMethod | None = None


class SystemScope(Struct):
    all: bool = False


class TrustScope(Struct):
    id: str


class ScopeBody(Struct):
    project: NamedIn | None = None
    domain: Named | None = None
    system: SystemScope | None = None
    unscoped: dict[str, Any] | None = None
    trust: TrustScope | None = field(default=None, name="OS-TRUST:trust")


class Auth(Struct):
    identity: AuthIdentity
    scope: ScopeBody | str | None = None


class AuthRequest(Struct):
    auth: Auth


# -- resources -----------------------------------------------------------------------------------


class UserFields(Struct):
    name: Name | UnsetType = UNSET
    domain_id: Key | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    password: Secret | UnsetType | None = UNSET
    default_project_id: Key | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET


class ProjectFields(Struct):
    name: ShortName | UnsetType = UNSET
    domain_id: Key | UnsetType | None = UNSET
    parent_id: Key | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET


class DomainFields(Struct):
    name: ShortName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET


class GroupFields(Struct):
    name: ShortName | UnsetType = UNSET
    domain_id: Key | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET


class RoleFields(Struct):
    name: Name | UnsetType = UNSET
    domain_id: Key | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET


class RegionFields(Struct):
    id: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    parent_region_id: str | UnsetType | None = UNSET


class ServiceFields(Struct):
    type: Name | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointFields(Struct):
    service_id: Key | UnsetType = UNSET
    interface: Annotated[str, Meta(pattern=r"^(public|internal|admin)\Z")] | UnsetType = UNSET
    region_id: str | UnsetType | None = UNSET
    region: str | UnsetType | None = UNSET
    url: Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


Attributes = dict[str, Any]


class UserBody(Struct):
    user: Attributes


class ProjectBody(Struct):
    project: Attributes


class DomainBody(Struct):
    domain: Attributes


class GroupBody(Struct):
    group: Attributes


class RoleBody(Struct):
    role: Attributes


class RegionBody(Struct):
    region: Attributes


class ServiceBody(Struct):
    service: Attributes


class EndpointBody(Struct):
    endpoint: Attributes


class PasswordChange(Struct):
    password: Secret
    original_password: Annotated[str, Meta(max_length=4096)]


class PasswordChangeBody(Struct):
    user: PasswordChange


class TagsBody(Struct):
    tags: Tags


class AppCredNew(Struct, forbid_unknown_fields=True):
    name: Name
    description: Text | None = None
    secret: Secret | None = None
    expires_at: str | None = None
    unrestricted: bool | None = None
    roles: list[Named] | None = None
    access_rules: list[Attributes] | None = None
    project_id: str | None = None


class AppCredBody(Struct):
    application_credential: AppCredNew


class ConfigBody(Struct):
    config: Attributes


# -- trusts --------------------------------------------------------------------------------------


class TrustNew(Struct):
    trustor_user_id: Key
    trustee_user_id: Key
    project_id: Key
    impersonation: bool
    roles: Annotated[list[Named], Meta(max_length=100)] = field(default_factory=list[Named])
    expires_at: str | None = None
    remaining_uses: Annotated[int, Meta(ge=1, le=0x7FFFFFFF)] | None = None
    allow_redelegation: bool = False
    redelegation_count: Annotated[int, Meta(ge=0, le=0x7FFFFFFF)] | None = None


class TrustBody(Struct):
    trust: TrustNew


# -- unified limits ------------------------------------------------------------------------------


class LimitModel(Struct):
    name: str
    description: str


class LimitModelReply(Struct):
    model: LimitModel


# -- EC2 keys ------------------------------------------------------------------------------------


class Ec2New(Struct, forbid_unknown_fields=True):
    tenant_id: Key


class Ec2Key(Struct):
    access: str
    secret: str
    user_id: str
    tenant_id: str
    trust_id: str | None
    links: dict[str, str]


class Ec2KeyReply(Struct):
    credential: Ec2Key


class Ec2KeysReply(Struct):
    credentials: list[Ec2Key]
    links: dict[str, str | None]


class Ec2Signed(Struct):
    """A signed request as the service got it that asks."""

    access: Annotated[str, Meta(min_length=1, max_length=4096)]
    signature: Annotated[str, Meta(min_length=1, max_length=4096)]
    host: str = ""
    verb: str = ""
    path: str = ""
    params: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body_hash: str = ""


class Ec2Request(Struct):
    credentials: Ec2Signed | None = None
    ec2Credentials: Ec2Signed | None = None


def split(
    attributes: Attributes, shape: type[Struct], required: tuple[str, ...] = ()
) -> tuple[Attributes, Attributes]:
    """The known fields, checked, and the made-up rest of a resource's body."""
    known = set(shape.__struct_fields__)
    try:
        checked = msgspec.convert({k: v for k, v in attributes.items() if k in known}, shape)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input: {wrong}.") from None
    values = {key: value for key in known if (value := getattr(checked, key)) is not UNSET}
    for key in required:
        if values.get(key) is None:
            raise Invalid(f"Invalid input: {key!r} is a required property.")
    ignored = known | {"id", "links", "options"}
    return values, {k: v for k, v in attributes.items() if k not in ignored}
