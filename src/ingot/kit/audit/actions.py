"""What a request did, in the words of an audit record: found from its row, its path and the names in its body."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from ingot.kit.audit.records import AUTHENTICATE, Entry
from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Fault, Kind

#: Those that change nothing.
LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_ACTIONS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
_VERSION = re.compile(r"v\d[\d.]*")
_ID = ("uuid", "id")
_MOST_FIELDS = 20
_LONGEST = 100
_LONGEST_NAME = 255


class AuditedOperation(Protocol):
    """A row of the table of operations, of which a record needs the path with its `{parameters}`.

    creates: whether it makes something new in what the path names.
    """

    @property
    def path(self) -> str: ...

    @property
    def creates(self) -> bool: ...


class AuditedReply(Protocol):
    """A reply, in which the id of what was made is looked for."""

    @property
    def body(self) -> Any: ...

    @property
    def headers(self) -> dict[str, str]: ...


@dataclass(slots=True)
class AuditedRequest:
    """What is known of a request while it is served. user_*: whom it says it is, where the caller is not known yet."""

    operation: AuditedOperation | None = None
    caller: Caller | None = None
    params: dict[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    reply: AuditedReply | None = None
    fault: Fault | None = None
    login: bool = False
    user_id: str | None = None
    user_name: str | None = None
    project_id: str | None = None
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    def logs_in(self, user_id: str | None, user_name: str | None, **notes: Any) -> None:
        """This request is a log-in, of whom it says."""
        self.login = True
        self.user_id, self.user_name = _cut(user_id), _cut(user_name)
        self.notes.update({name: value for name, value in notes.items() if value is not None})

    def entry(
        self, service: str, method: str, status: int, client: str, agent: str
    ) -> Entry | None:
        """The record; None for a request that needs none: looks, machines that say where they are, strangers."""
        operation = self.operation
        known = self.caller is not None and not self.caller.anonymous
        if not self.login and (method in LOOKS or operation is None or not known):
            return None
        words = _literals(operation.path) if operation else []
        action, kind, target = _what(method, operation.path if operation else "", self.params)
        if operation is not None and operation.creates:
            action, kind, target = "create", "/".join(words), None
        if self.login:
            action, kind, target = AUTHENTICATE, "/".join(words), None
        else:
            action = f"{action}{self._word()}"
        data: dict[str, Any] = {"method": method, "path": operation.path if operation else ""}
        data |= self._names() | self.notes
        if self.fault is not None:
            said = self.fault.internal if self.fault.kind is Kind.UNAUTHENTICATED else ""
            data["reason"] = (said or self.fault.text)[: 2 * _LONGEST]
        if agent:
            data["agent"] = agent[:_LONGEST]
        who = self.caller or Caller()
        return Entry(
            client=client or None,
            service=service,
            action=action,
            target_type=f"{service}/{kind}" if kind else service,
            target_id=_cut(target or self._made()),
            status=status,
            user_id=who.user_id or self.user_id,
            user_name=who.user_name or self.user_name,
            project_id=who.project_id or self.project_id,
            data=data,
        )

    def _word(self) -> str:
        """What a verb's body asks for: `/reboot` of {"reboot": {...}}, `/active` of {"target": "active"}."""
        body = self.body
        if self.operation is not None and self.operation.path.endswith("/action"):
            if isinstance(body, dict) and body:
                return f"/{str(next(iter(body)))[:_LONGEST]}"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            return ""
        target = _value(body, "target")
        return f"/{target[:_LONGEST]}" if isinstance(target, str) else ""

    def _names(self) -> dict[str, Any]:
        """Names of the fields that were given, and the thing's name. No values: they may be secret."""
        fields = sorted(set(_fields(self.body)))[:_MOST_FIELDS]
        found: dict[str, Any] = {"fields": [name[:_LONGEST] for name in fields]} if fields else {}
        inner = _inner(self.body)
        name = _value(inner, "name")
        if isinstance(name, str):
            found["name"] = name[:_LONGEST]
        return found

    def _made(self) -> str | None:
        """The id of what was made, from the answer."""
        reply = self.reply
        if reply is None:
            return None
        location = reply.headers.get("Location")
        if location:
            return location.rstrip("/").rpartition("/")[2]
        inner = _only(_inner(reply.body))
        for name in _ID:
            value = _value(inner, name)
            if isinstance(value, str):
                return value
        return None


def _what(method: str, path: str, params: dict[str, str]) -> tuple[str, str, str | None]:
    """Action, sort of target, its id: `PUT /v1/nodes/{id}/states/power` is update/states/power of nodes."""
    action = _ACTIONS.get(method, method.lower())
    parts = [part for part in path.split("/") if part and not _VERSION.fullmatch(part)]
    last = max((at for at, part in enumerate(parts) if part.startswith("{")), default=-1)
    tail = [part for part in parts[last + 1 :] if part != "action"]
    if last < 0:
        return action, "/".join(tail), None
    kind = "/".join(part for part in parts[:last] if not part.startswith("{"))
    if parts[last + 1 :]:
        action = "/".join(["update" if method in ("POST", "PUT", "PATCH") else action, *tail])
    return action, kind, params.get(parts[last].strip("{}"))


def _literals(path: str) -> list[str]:
    parts = path.split("/")
    return [p for p in parts if p and not p.startswith("{") and not _VERSION.fullmatch(p)]


def _inner(body: Any) -> Any:
    """`{"server": {...}}` without its envelope."""
    if isinstance(body, dict) and len(body) == 1:  # pyright: ignore[reportUnknownArgumentType]
        (value,) = body.values()  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, dict | msgspec.Struct):
            return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(body, msgspec.Struct) and len(body.__struct_fields__) == 1:
        value = getattr(body, body.__struct_fields__[0])
        if isinstance(value, dict | msgspec.Struct):
            return value  # pyright: ignore[reportUnknownVariableType]
    return body  # pyright: ignore[reportUnknownVariableType]


def _only(body: Any) -> Any:
    """`{"limits": [{...}]}` without its envelope, where there is one of them."""
    if isinstance(body, dict) and len(body) == 1:  # pyright: ignore[reportUnknownArgumentType]
        (value,) = body.values()  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
            return value[0]  # pyright: ignore[reportUnknownVariableType]
    return body  # pyright: ignore[reportUnknownVariableType]


def _fields(body: Any) -> list[str]:
    """Names in a body: its keys, or the paths of a JSON patch."""
    inner = _inner(body)
    if isinstance(inner, list):
        paths = [_value(one, "path") for one in inner[:_MOST_FIELDS]]  # pyright: ignore[reportUnknownVariableType]
        return [path.lstrip("/") for path in paths if isinstance(path, str)]
    if isinstance(inner, dict):
        return [str(name) for name in list(inner)[: 4 * _MOST_FIELDS]]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(inner, msgspec.Struct):
        given = ((name, getattr(inner, name)) for name in inner.__struct_fields__)
        return [name for name, value in given if value is not None and value is not msgspec.UNSET]
    return []


def _value(thing: Any, name: str) -> Any:
    """Of an object's field or a JSON object's key; None where there is none."""
    if isinstance(thing, dict):
        return thing.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return getattr(thing, name, None) if isinstance(thing, msgspec.Struct) else None


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:_LONGEST_NAME]
