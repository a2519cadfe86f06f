"""Who may do what: oslo.policy's rule language, compiled once into closures.

Operators know the language and bring their files, so it is kept: `role:admin and system_scope:all`,
`rule:other`, `project_id:%(node.owner)s`, `not`, `and`, `or`, parentheses, `@` (always), `!` (never). A
compiled check costs well under a microsecond (oslo.policy: about 200), and is decided once per request;
lists turn the answer into a WHERE clause instead of asking again for every row.

Source: the oslo.policy documentation, "Policy rule expressions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from ingot.kit.faults import Forbidden, Unauthenticated

Target = Mapping[str, object]
Check = Callable[["Caller", Target], bool]

_NOTHING: Target = {}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as their token says. `system` is true for tokens of scope system:all."""

    user_id: str | None = None
    user_name: str | None = None
    user_domain_id: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    domain_id: str | None = None
    system: bool = False
    roles: frozenset[str] = frozenset()
    service_roles: frozenset[str] = frozenset()
    audit_id: str | None = None
    token: str | None = field(default=None, repr=False)
    #: Facts about the token itself that only the identity room understands.
    extra: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)

    @property
    def anonymous(self) -> bool:
        return self.user_id is None

    def attribute(self, name: str) -> object:
        """What the left side of a rule such as `project_id:…` means for this caller."""
        if name == "system_scope":
            return "all" if self.system else None
        if name == "tenant":
            return self.project_id
        if name == "is_admin_project":
            return True  # as everywhere since tokens stopped to say otherwise
        return getattr(self, name, None) if name in _ATTRIBUTES else None


_ATTRIBUTES = frozenset(
    {
        "user_id",
        "user_name",
        "user_domain_id",
        "project_id",
        "project_name",
        "project_domain_id",
        "domain_id",
    }
)

#: A request without token.
ANONYMOUS = Caller()


class PolicyError(ValueError):
    """A rule that cannot be read: names the rule and the place."""


class Policy:
    """A set of named rules; operators may override any of them.

    rules: name -> expression. A rule that is asked for but not there denies.
    """

    def __init__(
        self, rules: Mapping[str, str], overrides: Mapping[str, str] | None = None
    ) -> None:
        self.rules = {**rules, **(overrides or {})}
        self._checks: dict[str, Check] = {}
        for name, text in self.rules.items():
            self._checks[name] = _Parser(name, text, self).parse()

    def allows(self, rule: str, caller: Caller, target: Target = _NOTHING) -> bool:
        check = self._checks.get(rule)
        return check is not None and check(caller, target)

    def require(self, rule: str, caller: Caller, target: Target = _NOTHING) -> None:
        """Raise Unauthenticated or Forbidden unless the rule allows it."""
        if self.allows(rule, caller, target):
            return
        if caller.anonymous:
            raise Unauthenticated("The request you have made requires authentication.")
        raise Forbidden(
            f"Policy does not allow {rule} to be performed.",
            next_action="Use a token whose roles and scope allow it.",
        )


_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+(?:%\([^)]*\)s)?)")
_REFERENCE = re.compile(r"%\(([^)]+)\)s")


class _Parser:
    """Recursive descent: or < and < not < atom, as oslo.policy binds them."""

    def __init__(self, name: str, text: str, policy: Policy) -> None:
        self._name, self._text, self._policy = name, text, policy
        self._tokens = _split(text)
        self._at = 0

    def parse(self) -> Check:
        if not self._tokens:
            return lambda _caller, _target: True
        check = self._either()
        if self._at != len(self._tokens):
            raise self._error("something is left over")
        return check

    def _either(self) -> Check:
        checks = [self._both()]
        while self._next_is("or"):
            checks.append(self._both())
        if len(checks) == 1:
            return checks[0]
        parts = tuple(checks)
        return lambda caller, target: any(part(caller, target) for part in parts)

    def _both(self) -> Check:
        checks = [self._negated()]
        while self._next_is("and"):
            checks.append(self._negated())
        if len(checks) == 1:
            return checks[0]
        parts = tuple(checks)
        return lambda caller, target: all(part(caller, target) for part in parts)

    def _negated(self) -> Check:
        if self._next_is("not"):
            inner = self._negated()
            return lambda caller, target: not inner(caller, target)
        return self._atom()

    def _atom(self) -> Check:
        token = self._take()
        if token == "(":
            check = self._either()
            if self._take() != ")":
                raise self._error("a bracket is not closed")
            return check
        if token == "@":
            return lambda _caller, _target: True
        if token == "!":
            return lambda _caller, _target: False
        left, colon, right = token.partition(":")
        if not colon:
            raise self._error(f"{token!r} is no check")
        return self._check(left, right)

    def _check(self, left: str, right: str) -> Check:
        if left == "rule":
            policy = self._policy
            return lambda caller, target: policy.allows(right, caller, target)
        if left == "role":
            role = right.lower()
            return lambda caller, _target: role in caller.roles
        if left == "service_role":
            return lambda caller, _target: right in caller.service_roles
        if left == "is_admin":
            wanted = right.lower() in ("true", "1")
            return lambda caller, _target: ("admin" in caller.roles) is wanted
        value = _value(right)
        if left in ("True", "False", "None") or left[:1] in "'\"0123456789":
            literal = left.strip("'\"")
            return lambda _caller, target: str(value(target)) == literal
        if right == "None" and left in _ATTRIBUTES:
            return lambda caller, _target: caller.attribute(left) is None

        def matches(caller: Caller, target: Target) -> bool:
            wanted, own = value(target), caller.attribute(left)
            return own is not None and wanted is not None and str(own) == str(wanted)

        return matches

    def _next_is(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].lower() == word:
            self._at += 1
            return True
        return False

    def _take(self) -> str:
        if self._at >= len(self._tokens):
            raise self._error("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, why: str) -> PolicyError:
        return PolicyError(f"policy rule {self._name!r}: {self._text!r}: {why}")


def _split(text: str) -> list[str]:
    """Words and brackets; brackets of `%(name)s` belong to their word."""
    guarded = _REFERENCE.sub(lambda found: f"%\x01{found.group(1)}\x02s", text)
    words: list[str] = []
    for found in _TOKEN.finditer(guarded):
        words.append(found.group(1).replace("\x01", "(").replace("\x02", ")"))
    return words


def _value(text: str) -> Callable[[Target], object]:
    """The right side of a check: a literal, or a dotted name looked up in the target."""
    found = _REFERENCE.fullmatch(text)
    if not found:
        literal = text.strip("'\"")
        return lambda _target: literal
    name = found.group(1)
    path = name.split(".")

    def look_up(target: Target) -> object:
        if name in target:
            return target[name]
        here: object = target
        for part in path:
            if not isinstance(here, Mapping):
                return None
            here = cast("Mapping[str, object]", here).get(part)  # pyright: ignore
        return here

    return look_up
