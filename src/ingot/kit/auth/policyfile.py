"""An operator's own policy rules: a file in oslo.policy's language, YAML or JSON, name -> expression.

A misspelt name or a rule that cannot be read would leave the rights as they were without anybody noticing, so
both are refused with file and line. Names that only the file's own rules refer to (aliases) are welcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ingot.kit.auth.policy import DEFAULT, Policy, PolicyError
from ingot.kit.faults import Invalid

if TYPE_CHECKING:
    import yaml

#: A whole policy of upstream's has 20 KiB.
_MOST = 1 << 20


@dataclass
class PolicyFile:
    """One file over one policy; `reread` looks whether it has changed."""

    path: Path
    policy: Policy
    _seen: tuple[int, int] = (0, 0)

    def reread(self) -> bool:
        """Take the rules when the file is new or has changed; True then.

        Invalid, with the rules as they were, when it cannot be used.
        """
        try:
            state = self.path.stat()
        except OSError as error:
            raise Invalid(f"{self.path} cannot be read: {error.strerror}.") from None
        if (state.st_mtime_ns, state.st_size) == self._seen:
            return False
        self._seen = (state.st_mtime_ns, state.st_size)
        load(self.path, self.policy)
        return True


def load(path: Path, policy: Policy) -> dict[str, str]:
    """Read a file and put its rules over the policy's defaults; the rules.

    Invalid with file and line when one is unknown, cannot be read, or refers to nothing.
    """
    rules, lines = _read(path)
    for name in rules:
        if name not in policy.defaults and name != DEFAULT and not _referred(name, rules):
            import difflib  # only to help with a mistake

            near = difflib.get_close_matches(name, policy.defaults, 1)
            hint = f"Did you mean {near[0]}?" if near else "`ingot policy list` shows all."
            raise Invalid(f"{path}, line {lines[name]}: there is no rule {name!r}. {hint}")
    try:
        policy.override(rules)
    except PolicyError as error:
        place = f", line {lines[error.rule]}" if error.rule in lines else ""
        raise Invalid(f"{path}{place}: {error.rule}: {error.why}.") from None
    return rules


def _referred(name: str, rules: Mapping[str, str]) -> bool:
    return any(
        f"rule:{name}" in text.replace("(", " ").replace(")", " ").split()
        for other, text in rules.items()
        if other != name
    )


def _read(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Rules, and the line of each."""
    import yaml  # few clouds have such a file

    try:
        if path.stat().st_size > _MOST:
            raise Invalid(f"{path} is larger than {_MOST} bytes: that is no policy file.")
        compose: Any = cast("Any", yaml).compose
        tree: Any = compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not a text in UTF-8: {error.reason}.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise Invalid(f"{path}{line}: {error.problem}.") from None
    if tree is None:
        return {}, {}
    if not isinstance(tree, yaml.MappingNode):
        raise Invalid(f"{path}, line 1: a policy file has lines of the form NAME: EXPRESSION.")
    rules: dict[str, str] = {}
    lines: dict[str, int] = {}
    for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", tree.value):
        line = key.start_mark.line + 1
        name = str(cast("Any", key).value)
        if name in rules:
            raise Invalid(f"{path}, line {line}: {name} was there already in line {lines[name]}.")
        text = _expression(value)
        if text is None:
            raise Invalid(f"{path}, line {line}: {name}: an expression is a text.")
        rules[name], lines[name] = text, line
    return rules, lines


def _expression(node: yaml.Node) -> str | None:
    """A rule as text. Lists are the oldest form: any of lists of checks that must all hold."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return "" if node.tag.endswith(":null") else str(node.value)
    if not isinstance(node, yaml.SequenceNode):
        return None
    choices: list[str] = []
    for item in cast("list[yaml.Node]", node.value):
        parts = (
            cast("list[yaml.Node]", item.value) if isinstance(item, yaml.SequenceNode) else [item]
        )
        if not all(isinstance(part, yaml.ScalarNode) for part in parts):
            return None
        choices.append(" and ".join(str(part.value) for part in parts))
    return " or ".join(f"({choice})" if " and " in choice else choice for choice in choices)
