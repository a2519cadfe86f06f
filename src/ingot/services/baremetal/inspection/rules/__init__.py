"""Inspection rules: what operators want done with what an inspection has found.

A rule has conditions and actions (`operators`, `actions`), a phase, a priority and perhaps secrets. Rules are
checked when they come (`checking`), kept in `rows` (or in a file of built-in ones, `builtin`), and applied to
the draft of a node (`engine`). Source: the Bare Metal service's inspection rules, API 1.96, whose names,
order and texts these are. Where that one would fail by accident (numbers compared with the texts that
interpolation makes of numbers) this one does what was meant.
"""

from ingot.services.baremetal.inspection.rules.engine import Applied, apply_rules
from ingot.services.baremetal.inspection.rules.types import MAIN, MASKINGS, PHASES, Rule

__all__ = ["MAIN", "MASKINGS", "PHASES", "Applied", "Rule", "apply_rules"]
