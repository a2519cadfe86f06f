"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAIN = "main"
#: The phases in which rules run; the API's 1.96 has this one.
PHASES = (MAIN,)
#: Rules of clients have priorities from 0 to this; built-in ones may have any.
MOST_PRIORITY = 9999
#: When secrets in inventory and plugin data are hidden from rules.
MASKINGS = ("always", "sensitive", "never")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. conditions and actions: [{"op", "args", "loop", "multiple"}] as the API has them.

    sensitive: its conditions and actions are never shown again.
    """

    uuid: str
    actions: list[dict[str, Any]] = field(repr=False)
    conditions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], repr=False)
    description: str | None = None
    priority: int = 0
    phase: str = MAIN
    sensitive: bool = False

    @property
    def label(self) -> str:
        """Its description where it has one, for people."""
        return f"{self.description} ({self.uuid})" if self.description else self.uuid
