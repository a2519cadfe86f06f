"""Who may do what: oslo.policy's rule language, compiled once into closures.

Operators know the language and bring their files, so it is kept: `role:admin and system_scope:all`,
`rule:other`, `project_id:%(node.owner)s`, `not`, `and`, `or`, parentheses, `@` (always), `!` (never). A
compiled check costs well under a microsecond (oslo.policy: about 200), and is decided once per request;
lists turn the answer into a WHERE clause instead of asking again for every row.

Source: the oslo.policy documentation, "Policy rule expressions".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Mapping
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
    #: Facts about the token itself that only the identity service understands.
    extra: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    #: What policies have decided for this caller; never taken over by `dataclasses.replace`.
    decisions: dict[object, bool] = field(
        default_factory=dict[object, bool], init=False, repr=False, compare=False
    )

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

#: What may stand left of the colon, beside literals.
_LEFT = _ATTRIBUTES | {"system_scope", "tenant", "is_admin_project", "is_public_api"}

#: Each set of rules that is in force gets a number of its own.
_sets = itertools.count()
#: Decisions kept for one caller.
_REMEMBERED = 1000

#: A request without token.
ANONYMOUS = Caller()
#: The rule that decides, where an operator has one, for names that are not there.
DEFAULT = "default"


class PolicyError(ValueError):
    """A rule that cannot be read: names the rule and the place."""

    def __init__(self, rule: str, text: str, why: str) -> None:
        super().__init__(f"policy rule {rule!r}: {text!r}: {why}")
        self.rule, self.why = rule, why


class Policy:
    """A set of named rules; operators may override any of them, also while it is in use.

    rules: name -> expression. A rule that is asked for but not there denies (or `default` decides).
    system_only: rules about what no project has; they need a token of scope system:all whatever they say.
    """

    def __init__(
        self,
        rules: Mapping[str, str],
        overrides: Mapping[str, str] | None = None,
        *,
        system_only: Collection[str] = (),
    ) -> None:
        self.defaults = dict(rules)
        self.system_only = frozenset(system_only)
        self.rules: dict[str, str] = {}
        self._checks: dict[str, Check] = {}
        self.override(overrides or {})

    def override(self, rules: Mapping[str, str]) -> None:
        """Decide by these over the defaults from now on. PolicyError, and nothing changes, when one is bad."""
        merged = {**self.defaults, **rules}
        # Of a thousand rules most say the same as another: each text is read and kept once.
        read: dict[str, tuple[Check, set[str]]] = {}
        for name, text in merged.items():
            if text not in read:
                parser = _Parser(name, text, self)
                read[text] = parser.parse(), parser.references
        checks = {name: read[text][0] for name, text in merged.items()}
        references = {name: read[text][1] for name, text in merged.items()}
        _check_references(merged, references)
        self.rules, self._checks = merged, checks
        self._set = next(_sets)

    def allows(self, rule: str, caller: Caller, target: Target = _NOTHING) -> bool:
        """Whether the rule lets the caller do it to the target. Decided once for each caller and target."""
        key = (self._set, rule, *target.items())
        try:
            known = caller.decisions.get(key)
        except TypeError:  # a target that cannot be a key
            return self._decide(rule, caller, target)
        if known is None:
            if len(caller.decisions) >= _REMEMBERED:
                caller.decisions.clear()
            known = caller.decisions[key] = self._decide(rule, caller, target)
        return known

    def _decide(self, rule: str, caller: Caller, target: Target) -> bool:
        check = self._checks.get(rule) or self._checks.get(DEFAULT)
        if check is None or (rule in self.system_only and not caller.system):
            return False
        return check(caller, target)

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


def _check_references(rules: Mapping[str, str], references: Mapping[str, set[str]]) -> None:
    """Rules that refer to nothing, or round in a circle, would deny or hang long after they were written."""
    for name, others in references.items():
        for other in sorted(others):
            if other not in rules and DEFAULT not in rules:
                raise PolicyError(name, rules[name], f"there is no rule {other!r}")
    done: set[str] = set()
    for name in references:
        _walk(name, rules, references, [], done)


def _walk(
    name: str,
    rules: Mapping[str, str],
    references: Mapping[str, set[str]],
    path: list[str],
    done: set[str],
) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise PolicyError(name, rules[name], f"it refers to itself: {circle}")
    if name in done:
        return
    for other in references.get(name, ()):
        _walk(other, rules, references, [*path, name], done)
    done.add(name)


_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+(?:%\([^)]*\)s)?)")
_REFERENCE = re.compile(r"%\(([^)]+)\)s")


class _Parser:
    """Recursive descent: or < and < not < atom, as oslo.policy binds them."""

    def __init__(self, name: str, text: str, policy: Policy) -> None:
        self._name, self._text, self._policy = name, text, policy
        self._tokens = _split(text)
        self._at = 0
        self.references: set[str] = set()

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
            self.references.add(right)
            return lambda caller, target: policy.allows(right, caller, target)
        if left == "role":
            if right.startswith("%("):
                named = _value(right)
                return lambda caller, target: str(named(target)).lower() in caller.roles
            role = right.lower()
            return lambda caller, _target: role in caller.roles
        if left in ("http", "https"):
            raise self._error("questions to an outside policy server are not supported")
        if left == "service_role":
            return lambda caller, _target: right in caller.service_roles
        if left == "is_admin":
            wanted = right.lower() in ("true", "1")
            return lambda caller, _target: ("admin" in caller.roles) is wanted
        value = _value(right)
        if left in ("True", "False", "None") or left[:1] in "'\"0123456789":
            literal = left.strip("'\"")
            return lambda _caller, target: str(value(target)) == literal
        if left not in _LEFT:
            raise self._error(f"a token has no {left!r}; there are {', '.join(sorted(_LEFT))}")
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
        return PolicyError(self._name, self._text, why)


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
