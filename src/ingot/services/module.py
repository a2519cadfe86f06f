"""What the app knows of every service: what it is before it is built, and what it gives when it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import sqlalchemy as sa

from ingot.kit.api.operations import Authenticator, Operation, Service
from ingot.kit.auth.policy import Policy
from ingot.workflow import Loop, Workflow


@dataclass(frozen=True)
class ServiceModule:
    """One service of the cloud: `SERVICE` in its `module.py`.

    name: of its folder, its settings, its policy file and its metrics. type, product, url, title: its entry in the
    catalogue; clients find it by the type ("compute") and show the product ("nova"); url is below the cloud's own.
    policies: default access rules by name; those of system_only need a token for the system. tables: the module that
    declares its tables. requires: services that it is built with, which stand before it in `app/services.py`.
    """

    name: str
    type: str
    product: str
    url: str
    title: str
    policies: Mapping[str, str]
    tables: ModuleType
    requires: tuple[str, ...] = ()
    system_only: frozenset[str] = frozenset()

    def default_policy(self) -> Policy:
        """The access rules where no file of the operator says otherwise."""
        return Policy(self.policies, system_only=self.system_only)


def no_loops() -> Sequence[Loop]:
    """Of a service that has nothing to look after."""
    return ()


@dataclass(frozen=True)
class BuiltService:
    """What a service gives to the process that it is built in.

    api: its APIs under their prefixes, for an authenticator of their callers. provisioning: operations for booting
    machines. loops: makes the reconcilers of a conductor. held: what a project has in it, counted by kind ("servers").
    """

    api: Callable[[Authenticator], Sequence[Service]]
    workflows: Sequence[Workflow] = ()
    provisioning: Sequence[Operation] = ()
    loops: Callable[[], Sequence[Loop]] = no_loops
    held: Mapping[str, Callable[[sa.Connection, str], int]] = field(
        default_factory=dict[str, Callable[[sa.Connection, str], int]]
    )
