"""Manners of the OpenStack APIs: how each family wraps bodies, writes times, cuts lists and names policy rules.

A resource is declared once (`resource`) and told in the style of its service. Sources: the API references of
Keystone v3, Networking v2.0, Compute v2.1. A style comes with the first service that speaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ingot.kit import ids
from ingot.kit.faults import Fault, Kind


def _seconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _microseconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _naive(at: datetime) -> str:
    """Without a zone, as Compute and Block Storage write what their databases hold."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Names of the policy rules of a resource's operations.

    early: whether those of index and show look at nothing but the caller, and are asked before anything is read.
    """

    index: str
    show: str
    create: str
    update: str
    delete: str
    early: bool = False

    @classmethod
    def named(cls, pattern: str) -> Rules:
        """Rules by a pattern, such as "os_compute_api:os-aggregates:{verb}"."""
        verbs = ("index", "show", "create", "update", "delete")
        index, show, create, update, delete = (pattern.format(verb=verb) for verb in verbs)
        return cls(index=index, show=show, create=create, update=update, delete=delete)


def _crud_rules(get: str) -> Callable[[str, str], Rules]:
    """ "{prefix}list_things", "{prefix}get_thing", …; get: what lists ask, which some services call get too."""

    def rules(name: str, plural: str) -> Rules:
        return Rules(
            index=get.format(name=name, plural=plural),
            show=f"get_{name}",
            create=f"create_{name}",
            update=f"update_{name}",
            delete=f"delete_{name}",
        )

    return rules


@dataclass(frozen=True, kw_only=True)
class Style:
    """The manners of one family.

    root: what paths begin with. rules: name and plural -> names of the policy rules.
    update: method of a change. created, updated, deleted: success codes.
    new_id: makes ids. moment: writes times.
    links: how a thing tells its own address; "no": not at all.
    pages: how a list tells of the page after it.
    sorting: "pairs": sort_key and sort_dir, repeated; "single": the same once; "no".
    marker: whether lists are cut by limit and marker. most: things in one page at most.
    words: whether filters compare too (name__contains). unknown: what becomes of a filter that is not known.
    fields: whether `fields` picks the fields of a reply. bulk: whether several things may come in one body.
    strict: whether a body may name nothing else. lenient: whether numbers and truth values may come as texts.
    max_body: octets of a body at most. lacking: what is told of a field that must be named and is not ("": our words).
    hidden: what a caller is told of a thing of others; "forbidden" to those who see only their own (Keystone).
    tenant_id: whether the owner is shown, taken and filtered by under its old name too.
    revisions: whether If-Match guards changes.
    """

    name: str
    root: str
    rules: Callable[[str, str], Rules]
    update: Literal["PUT", "PATCH", "POST"] = "PUT"
    created: int = 201
    updated: int = 200
    deleted: int = 204
    new_id: Callable[[], str] = ids.new_uuid
    moment: Callable[[datetime], str] = _seconds
    links: Literal["no", "self"] = "no"
    pages: Literal["no", "keystone", "neutron", "nova"] = "no"
    sorting: Literal["pairs", "single", "no"] = "no"
    marker: bool = True
    most: int = 1000
    words: bool = False
    unknown: Literal["refused", "ignored"] = "ignored"
    fields: bool = False
    bulk: bool = False
    strict: bool = True
    lenient: bool = False
    max_body: int = 1 << 20
    lacking: str = ""
    hidden: Literal["missing", "forbidden"] = "missing"
    tenant_id: bool = False
    revisions: bool = False
    missing: Callable[[str, str], Fault]


def _neutron_missing(name: str, ident: str) -> Fault:
    word = "".join(part.capitalize() for part in name.split("_"))
    text = f"{word} {ident} could not be found."
    return Fault(text, kind=Kind.MISSING, details={"type": f"{word}NotFound"})


def _keystone_missing(name: str, ident: str) -> Fault:
    return Fault(f"Could not find {name.replace('_', ' ')}: {ident}.", kind=Kind.MISSING)


def _plain_missing(name: str, ident: str) -> Fault:
    word = name.replace("_", " ").capitalize()
    return Fault(f"{word} {ident} could not be found.", kind=Kind.MISSING)


def _identity_rules(name: str, plural: str) -> Rules:
    found = _crud_rules("list_{plural}")(name, plural)
    return Rules(
        index=f"identity:{found.index}",
        show=f"identity:{found.show}",
        create=f"identity:{found.create}",
        update=f"identity:{found.update}",
        delete=f"identity:{found.delete}",
    )


KEYSTONE = Style(
    name="keystone",
    root="/v3",
    rules=_identity_rules,
    update="PATCH",
    new_id=ids.new_hex,
    moment=_microseconds,
    links="self",
    pages="keystone",
    marker=False,
    words=True,
    strict=False,
    max_body=114_688,
    hidden="forbidden",
    missing=_keystone_missing,
)
NEUTRON = Style(
    name="neutron",
    root="/v2.0",
    rules=_crud_rules("get_{name}"),
    pages="neutron",
    sorting="pairs",
    most=2000,
    unknown="refused",
    fields=True,
    bulk=True,
    lenient=True,
    max_body=4 << 20,
    lacking="Failed to parse request. Required attribute '{name}' not specified.",
    tenant_id=True,
    revisions=True,
    missing=_neutron_missing,
)
NOVA = Style(
    name="nova",
    root="",
    rules=lambda name, plural: Rules.named(f"os_compute_api:os-{plural}:" + "{verb}"),
    created=200,
    deleted=204,
    moment=_naive,
    pages="nova",
    sorting="single",
    missing=_plain_missing,
)
