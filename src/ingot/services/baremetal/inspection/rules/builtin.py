"""Built-in rules: a YAML file of the operator's, applied besides those of the API and not shown there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ingot.kit.faults import Fault, Invalid
from ingot.services.baremetal.inspection.rules.checking import read_rule
from ingot.services.baremetal.inspection.rules.types import Rule

_FIELDS = ("uuid", "priority", "description", "sensitive", "phase", "actions", "conditions")


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, which is a list of them; Invalid says what is wrong with it, and where."""
    import yaml  # slow to import, and few have such a file

    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Invalid(f"The built-in inspection rules in {path} cannot be read: {error}.") from None
    if not isinstance(data, list):
        raise Invalid(f"Built-in rules file ({path}) should contain a list of rules.")
    rules: list[Rule] = []
    unnamed = 0
    for number, given in enumerate(cast("list[Any]", data), 1):
        if not isinstance(given, dict):
            raise Invalid(f"{path}, rule {number}: it is no mapping.")
        document = {k: v for k, v in cast("dict[str, Any]", given).items() if k in _FIELDS}
        if document.get("uuid") is None:
            document["uuid"] = f"00000000-0000-0000-0000-{unnamed:012x}"
            unnamed += 1
        document["uuid"] = str(document["uuid"])
        try:
            rules.append(read_rule(document, built_in=True))
        except Fault as fault:
            raise Invalid(f"{path}, rule {number}: {fault.text}") from None
    return tuple(rules)
