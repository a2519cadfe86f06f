"""The actions of rules: each changes the draft of a node, or fails its inspection.

Actions raise Failed with the text for last_error. Paths are `properties/a/b` or `properties.a.b`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ingot.kit import log
from ingot.kit.faults import Failed, Fault
from ingot.services.baremetal.inspection.draft import PORT_FIELDS, Draft, PortDraft
from ingot.services.baremetal.inspection.rules.arguments import Signature
from ingot.services.baremetal.nodes.schemas import PATCHABLE

LEVELS = ("debug", "info", "warning", "error", "critical")
_log = log.get("inspection rules")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A GET that a rule wants made. timeout: seconds of one try. backoff: seconds, doubled each time.

    judged: the rule leaves its host to what the machine tells; then it is asked as whatever others name is.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    proxies: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 5
    retries: int = 3
    backoff: float = 0.3
    judged: bool = False


@dataclass
class RuleContext:
    """What actions work on. calls: to be made when everything is written, by rule. written: the present action's
    arguments as they stand in the rule."""

    draft: Draft
    calls: list[ApiCall] = field(default_factory=list[ApiCall])
    written: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Action:
    signature: Signature
    run: Callable[..., None]


def _parts(path: Any) -> list[str]:
    text = str(path)
    parts = text.strip("/").split("/") if "/" in text else text.split(".")
    if not all(parts):
        raise Failed(f"{text!r} is no path")
    return parts


def _inside(root: Any, parts: list[str], make: bool) -> dict[str, Any]:
    """The object that holds the last part of a path."""
    here = root
    for part in parts:
        if not isinstance(here, dict):
            raise Failed(f"{part!r} is not in an object")
        holder = cast("dict[str, Any]", here)
        if part not in holder and not make:
            raise Failed(f"{part!r} is not there")
        here = holder.setdefault(part, {})
    if not isinstance(here, dict):
        raise Failed("the path leads into a value that is no object")
    return cast("dict[str, Any]", here)


# -- attributes: of the node and of its ports alike ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Attributes:
    """A node or a port whose attributes are changed."""

    values: dict[str, Any]
    names: tuple[str, ...]
    set: Callable[[str, Any], None]

    def root(self, name: str) -> Any:
        if name not in self.names:
            raise Failed(f"{name!r} is no attribute that a rule can change")
        return self.values.get(name)

    def write(self, parts: list[str], value: Any) -> None:
        whole = self.root(parts[0])
        if len(parts) == 1:
            self.set(parts[0], value)
            return
        _inside(whole, parts[1:-1], make=True)[parts[-1]] = value
        self.set(parts[0], whole)

    def extend(self, parts: list[str], value: Any, unique: bool) -> None:
        whole = self.root(parts[0])
        if len(parts) == 1:
            found: Any = whole if whole is not None else []
        else:
            found = _inside(whole, parts[1:-1], make=True).setdefault(parts[-1], [])
        if not isinstance(found, list):
            raise Failed(f"Cannot extend non-list attribute {'/'.join(parts)}")
        items = cast("list[Any]", found)
        if not unique or value not in items:
            items.append(value)
        self.set(parts[0], items if len(parts) == 1 else whole)

    def remove(self, parts: list[str]) -> None:
        whole = self.root(parts[0])
        if len(parts) == 1:
            self.set(parts[0], None)
            return
        holder = _inside(whole, parts[1:-1], make=False)
        if parts[-1] not in holder:
            raise Failed(f"{parts[-1]!r} is not there")
        del holder[parts[-1]]
        self.set(parts[0], whole)


def _node(context: RuleContext) -> _Attributes:
    return _Attributes(context.draft.fields, PATCHABLE, context.draft.set)


def _port(context: RuleContext, port_id: Any) -> tuple[PortDraft, _Attributes]:
    port = context.draft.port(str(port_id))
    if port is None:
        raise Failed(f"Port {port_id} could not be found.")
    return port, _Attributes(port.values, tuple(PORT_FIELDS), port.set)


def _trying(what: str, work: Callable[[], None]) -> None:
    """Do it; the fault says what was tried."""
    try:
        work()
    except Fault as fault:
        raise Failed(f"Failed to {what}: {fault.text}") from None


def _set_attribute(context: RuleContext, path: Any, value: Any) -> None:
    what = f"set attribute {path}"
    _trying(what, lambda: _node(context).write(_parts(path), value))
    context.draft.say(f"set {path}")


def _extend_attribute(context: RuleContext, path: Any, value: Any, unique: Any = False) -> None:
    what = f"extend attribute {path}"
    _trying(what, lambda: _node(context).extend(_parts(path), value, bool(unique)))
    context.draft.say(f"extended {path}")


def _del_attribute(context: RuleContext, path: Any) -> None:
    _trying(f"delete attribute at {path}", lambda: _node(context).remove(_parts(path)))
    context.draft.say(f"removed {path}")


def _set_port_attribute(context: RuleContext, port_id: Any, path: Any, value: Any) -> None:
    port, thing = _port(context, port_id)
    what = f"set attribute {path} for port {port_id}"
    _trying(what, lambda: thing.write(_parts(path), value))
    context.draft.say(f"set {path} of port {port.address}")


def _extend_port_attribute(
    context: RuleContext, port_id: Any, path: Any, value: Any, unique: Any = False
) -> None:
    port, thing = _port(context, port_id)
    what = f"extend attribute {path} for port {port_id}"
    _trying(what, lambda: thing.extend(_parts(path), value, bool(unique)))
    context.draft.say(f"extended {path} of port {port.address}")


def _del_port_attribute(context: RuleContext, port_id: Any, path: Any) -> None:
    port, thing = _port(context, port_id)
    what = f"delete attribute {path} for port {port_id}"
    _trying(what, lambda: thing.remove(_parts(path)))
    context.draft.say(f"removed {path} of port {port.address}")


# -- traits and capabilities --------------------------------------------------------------------------


def _add_trait(context: RuleContext, name: Any) -> None:
    _trying(f"add new trait {name}", lambda: context.draft.add_trait(str(name)))
    context.draft.say(f"added trait {name}")


def _remove_trait(context: RuleContext, name: Any) -> None:
    if str(name) in context.draft.traits:
        context.draft.traits.discard(str(name))
        context.draft.say(f"removed trait {name}")


def _set_capability(context: RuleContext, name: Any, value: Any) -> None:
    wrong = [text for text in (str(name), str(value)) if "," in text]
    if wrong or ":" in str(name):
        raise Failed(f"Failed to set capability {name}: names and values have no comma or colon")
    context.draft.set_capabilities({str(name): str(value)})
    context.draft.say(f"set capability {name}:{value}")


def _unset_capability(context: RuleContext, name: Any) -> None:
    context.draft.unset_capability(str(name))
    context.draft.say(f"unset capability {name}")


# -- plugin data --------------------------------------------------------------------------------------


def _keys(path: Any) -> list[str]:
    if isinstance(path, list):
        return [str(key) for key in cast("list[Any]", path)]
    return str(path).split(".")


def _set_plugin_data(context: RuleContext, path: Any, value: Any) -> None:
    keys = _keys(path)
    what = f"set plugin data at {path}"
    _trying(
        what, lambda: _inside(context.draft.plugin_data, keys[:-1], True).update({keys[-1]: value})
    )
    context.draft.say(f"set plugin data {path}")


def _extend_plugin_data(context: RuleContext, path: Any, value: Any, unique: Any = False) -> None:
    keys = _keys(path)

    def extend() -> None:
        holder = _inside(context.draft.plugin_data, keys[:-1], True)
        found: Any = holder.get(keys[-1]) or []
        if not isinstance(found, list):
            raise Failed("it is no list")
        items = cast("list[Any]", found)
        if not unique or value not in items:
            items.append(value)
        holder[keys[-1]] = items

    _trying(f"extend plugin data at {path}", extend)
    context.draft.say(f"extended plugin data {path}")


def _unset_plugin_data(context: RuleContext, path: Any) -> None:
    """A missing path is no fault; an object that becomes empty goes too."""
    keys = _keys(path)
    try:
        holder = _inside(context.draft.plugin_data, keys[:-1], False)
    except Failed:
        return
    if holder.pop(keys[-1], None) is None:
        return
    if not holder and len(keys) > 1:
        del _inside(context.draft.plugin_data, keys[:-2], False)[keys[-2]]
    context.draft.say(f"unset plugin data {path}")


# -- the rest -----------------------------------------------------------------------------------------


class RuleFailed(Failed):
    """What the rule itself wants told; shown of sensitive rules too."""


def _fail(context: RuleContext, msg: Any) -> None:
    raise RuleFailed(str(msg))


def _write_log(context: RuleContext, msg: Any, level: Any = "info") -> None:
    chosen = str(level).lower()
    if chosen not in LEVELS:
        raise Failed(f"Invalid log level: {level}. Choose from {', '.join(LEVELS)}")
    getattr(_log, chosen)(str(msg), node=context.draft.node.uuid)
    context.draft.say(str(msg))


def _api_call(
    context: RuleContext,
    url: Any,
    headers: Any = None,
    proxies: Any = None,
    timeout: Any = 5,
    retries: Any = 3,
    backoff_factor: Any = 0.3,
) -> None:
    try:
        seconds, tries, backoff = float(timeout), int(retries), float(backoff_factor)
    except (TypeError, ValueError, OverflowError) as wrong:
        raise Failed(f"Invalid parameter: {wrong}") from None
    if not 0 < seconds <= 300 or not 0 <= tries <= 20 or not 0 <= backoff <= 60:
        raise Failed("Invalid parameter: timeout must be greater than zero")
    if not str(url).startswith(("http://", "https://")):
        raise Failed(f"Invalid parameter: {url} is no http or https URL")
    judged = _leaves_host_open(str(context.written.get("url")))
    context.calls.append(
        ApiCall(str(url), _texts(headers), _texts(proxies), seconds, tries, backoff, judged)
    )
    context.draft.say(f"calls {str(url).partition('?')[0]}")


def _leaves_host_open(written: str) -> bool:
    """Whether a replacement field of a URL has a say in the host that is asked."""
    scheme, found, rest = written.partition("://")
    return not found or "{" in scheme or "{" in re.split(r"[/?#\\]", rest, maxsplit=1)[0]


def _texts(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Failed("Invalid parameter: headers and proxies are objects of texts")
    return {str(k): str(v) for k, v in cast("Mapping[Any, Any]", value).items()}


_VALUE = frozenset({"value"})
_PORT = ("port_id", "path", "value")

ACTIONS: Mapping[str, Action] = {
    "fail": Action(Signature(("msg",)), _fail),
    "log": Action(Signature(("msg",), ("level",), frozenset({"msg"})), _write_log),
    "set-attribute": Action(Signature(("path", "value"), (), _VALUE), _set_attribute),
    "extend-attribute": Action(
        Signature(("path", "value"), ("unique",), _VALUE), _extend_attribute
    ),
    "del-attribute": Action(Signature(("path",)), _del_attribute),
    "set-capability": Action(Signature(("name", "value"), (), _VALUE), _set_capability),
    "unset-capability": Action(Signature(("name",)), _unset_capability),
    "add-trait": Action(Signature(("name",)), _add_trait),
    "remove-trait": Action(Signature(("name",)), _remove_trait),
    "set-plugin-data": Action(Signature(("path", "value"), (), _VALUE), _set_plugin_data),
    "extend-plugin-data": Action(
        Signature(("path", "value"), ("unique",), _VALUE), _extend_plugin_data
    ),
    "unset-plugin-data": Action(Signature(("path",)), _unset_plugin_data),
    "set-port-attribute": Action(Signature(_PORT, (), _VALUE), _set_port_attribute),
    "extend-port-attribute": Action(Signature(_PORT, ("unique",), _VALUE), _extend_port_attribute),
    "del-port-attribute": Action(Signature(("port_id", "path")), _del_port_attribute),
    "api-call": Action(
        Signature(
            ("url",),
            ("headers", "proxies", "timeout", "retries", "backoff_factor"),
            frozenset({"url"}),
        ),
        _api_call,
    ),
}
