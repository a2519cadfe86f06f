"""Values of allocations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True)
class AllocationRequest:
    """What an allocation asks for. candidate_nodes: uuids. owner: only machines that it may use."""

    uuid: str
    name: str | None = None
    resource_class: str | None = None
    traits: Sequence[str] = ()
    candidate_nodes: Sequence[str] = ()
    owner: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ChosenNode(NamedTuple):
    """A machine that was chosen; instance_info as it is stored."""

    uuid: str
    instance_info: str
