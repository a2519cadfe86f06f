"""Which steps a node offers, as far as anybody knows now, and what is wrong with steps that are asked for.

Drivers always say what they do. What the agent does is known from the last time it was asked on this very
machine; until then a step that nobody names may still be the agent's, and is left for later. Steps are plain
objects as the Bare Metal API has them, with `argsinfo` {name: {"description", "required"}}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.machine.base import CAPABILITIES, runs_steps
from ingot.drivers.machine.registry import Registry
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Invalid
from ingot.services.baremetal.steps import store as step_store
from ingot.services.baremetal.templates import service as templates
from ingot.services.baremetal.templates import store as template_store
from ingot.services.baremetal.types import Node

Step = Mapping[str, Any]
Id = tuple[str, str]

KINDS = ("clean", "deploy", "service")
#: Done by this service itself on every machine, whatever interface they are asked of; with their arguments.
RESERVED: Mapping[str, Mapping[str, Any]] = {
    "power_on": {},
    "power_off": {},
    "reboot": {},
    "hold": {},
    "wait": {
        "seconds": {
            "description": "How long to wait; until the agent's next call when not given.",
            "required": False,
        }
    },
}
#: Of these, what child nodes can be asked to do in the place of the machine itself.
ON_CHILDREN = ("power_on", "power_off", "reboot")
#: What is kept of each of the agent's steps.
_FACTS = ("interface", "step", "priority", "abortable", "reboot_requested", "argsinfo")


def step_id(step: Step) -> Id:
    return str(step["interface"]), str(step["step"])


# -- what is offered -----------------------------------------------------------------------------


def keep_agents(
    conn: sa.Connection, node_uuid: str, kind: str, steps: Iterable[Step], now: str
) -> None:
    """Remember what the agent offers for a kind of work on this machine."""
    kept = [{name: step.get(name) for name in _FACTS} for step in steps]
    step_store.save(conn, node_uuid, kind, kept, now)


def of_drivers(registry: Registry, node: Node, kind: str) -> list[dict[str, Any]]:
    """Steps that the node's interfaces offer, those included that need the agent to carry them out."""
    found: list[dict[str, Any]] = []
    for name in CAPABILITIES:
        hand = registry.resolve(node.driver, name, node.interfaces.get(name))
        infos = hand.steps() if runs_steps(hand) else ()
        found += [
            {
                "kind": kind,
                "interface": info.interface,
                "step": info.step,
                "priority": info.priority,
                "abortable": info.abortable,
                "argsinfo": dict(info.argsinfo) if info.argsinfo else {},
                "requires_ramdisk": info.requires_ramdisk,
                "source": "agent" if info.in_band else "driver",
                "last_seen": None,
            }
            for info in infos
            if kind in info.kinds
        ]
    return found


def of_agent(conn: sa.Connection, node_uuid: str, kind: str) -> list[dict[str, Any]]:
    """Steps that the agent offered when it was asked last."""
    known = step_store.load(conn, node_uuid, kind)
    if known is None:
        return []
    steps, seen_at = known
    return [
        {
            "kind": kind,
            "interface": step["interface"],
            "step": step["step"],
            "priority": step.get("priority") or 0,
            "abortable": bool(step.get("abortable")),
            "argsinfo": step.get("argsinfo"),
            "requires_ramdisk": True,
            "source": "agent",
            "last_seen": seen_at,
        }
        for step in steps
    ]


def offered(conn: sa.Connection, registry: Registry, node: Node, kind: str) -> list[dict[str, Any]]:
    """All steps of a kind: those of the drivers, and the agent's where no driver has the same."""
    agents = of_agent(conn, node.uuid, kind) if uses_agent(registry, node) else []
    seen = {step_id(step): step for step in agents}
    found: list[dict[str, Any]] = []
    for step in of_drivers(registry, node, kind):
        newer = seen.pop(step_id(step), None)
        if newer is None or step["source"] != "agent":
            found.append(step)
            continue
        # What the agent says of its own step is newer than what its interface says of agents.
        newer["argsinfo"] = newer["argsinfo"] or step["argsinfo"]
        found.append(newer)
    return found + list(seen.values())


def uses_agent(registry: Registry, node: Node) -> bool:
    return registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent


# -- what is asked for ---------------------------------------------------------------------------


def problems(
    conn: sa.Connection,
    registry: Registry,
    node: Node,
    kind: str,
    wanted: Sequence[Step],
    *,
    disable_ramdisk: bool = False,
) -> list[str]:
    """What is wrong with a client's steps on this machine, as far as it can be known before the work."""
    known = {step_id(step): step for step in offered(conn, registry, node, kind)}
    may_come = uses_agent(registry, node) and not disable_ramdisk
    found: list[str] = []
    for step in wanted:
        if step.get("execute_on_child_nodes"):
            if step["step"] not in ON_CHILDREN:
                found.append(
                    f"{kind} step {'.'.join(step_id(step))} cannot be done on child nodes; "
                    f"only {', '.join(ON_CHILDREN)} can"
                )
            continue
        name = ".".join(step_id(step))
        if step["step"] in RESERVED:
            found += wrong_arguments(kind, step, RESERVED[step["step"]])
            continue
        doer = known.get(step_id(step))
        if doer is None:
            if not may_come:
                found.append(f"node does not support this {kind} step: {name}")
            continue
        found += wrong_arguments(kind, step, doer["argsinfo"])
        if disable_ramdisk and doer["requires_ramdisk"]:
            found.append(f"{kind} step {name} requires booting a ramdisk")
        if kind == "deploy" and step_id(step) == ("deploy", "deploy") and _runs(step):
            found.append(
                "deploy step deploy on interface deploy is a core step and cannot be overridden by "
                "user steps. It may be disabled by setting the priority to 0"
            )
    if kind == "deploy":
        found += _twice(wanted)
    return found


def wrong_arguments(kind: str, step: Step, argsinfo: Mapping[str, Any] | None) -> list[str]:
    """Arguments that the description of a step does not know, or that are missing.

    argsinfo: None where the step's doer does not say what it takes, as agents often do not.
    """
    if argsinfo is None:
        return []
    name = ".".join(step_id(step))
    given = cast("Mapping[str, Any]", step.get("args") or {})
    found: list[str] = []
    if unexpected := sorted(set(given) - set(argsinfo)):
        found.append(f"{kind} step {name} has these unexpected arguments: {', '.join(unexpected)}")
    if not _runs(step):
        return found
    missing = [
        arg + (f" ({info['description']})" if info.get("description") else "")
        for arg, info in argsinfo.items()
        if info.get("required") and arg not in given
    ]
    if missing:
        found.append(
            f"{kind} step {name} is missing these required arguments: {', '.join(missing)}"
        )
    return found


def _runs(step: Step) -> bool:
    """Deploy steps with priority 0 are switched off; other kinds have no priority."""
    return int(step.get("priority", 1)) > 0


def _twice(wanted: Sequence[Step]) -> list[str]:
    counted = Counter(step_id(step) for step in wanted if step["step"] not in RESERVED)
    twice = sorted(".".join(one) for one, count in counted.items() if count > 1)
    if not twice:
        return []
    return [
        "deploy steps from all deploy templates matching this node's instance traits cannot have "
        f"the same interface and step. Duplicate deploy steps for {', '.join(twice)}"
    ]


def check(
    conn: sa.Connection,
    registry: Registry,
    node: Node,
    kind: str,
    wanted: Sequence[Step],
    *,
    disable_ramdisk: bool = False,
) -> None:
    """Invalid when the steps cannot be run on this machine."""
    wrong = problems(conn, registry, node, kind, wanted, disable_ramdisk=disable_ramdisk)
    if wrong:
        raise Invalid(
            f"Validation of {kind} steps failed: {'; '.join(wrong)}",
            next_action="The steps that the node offers are at "
            f"/machines/v1/nodes/{node.uuid}/steps.",
        )


# -- deploy templates ----------------------------------------------------------------------------


def template_steps(
    conn: sa.Connection, vault: Vault, node: Node
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names and steps (with secrets) of the deploy templates that the instance's traits ask for."""
    traits: object = node.instance_info.get("traits")
    if not isinstance(traits, list) or not traits:
        return [], []
    rows = template_store.templates_named(
        conn, [str(trait) for trait in cast("list[object]", traits)]
    )
    steps = [step for row in rows for step in templates.whole_steps(vault, row)]
    return [row["name"] for row in rows], steps


def template_problems(
    conn: sa.Connection, registry: Registry, vault: Vault, node: Node
) -> list[str]:
    """What is wrong with the steps of the instance's deploy templates; one text at most."""
    names, steps = template_steps(conn, vault, node)
    wrong = problems(conn, registry, node, "deploy", steps)
    if not wrong:
        return []
    return [
        "Validation of deploy steps from deploy templates matching this node's instance traits "
        f"failed. Matching deploy templates: {','.join(names)}. Errors: {'; '.join(wrong)}"
    ]


def deploy_steps(
    conn: sa.Connection, vault: Vault, node: Node, asked: Sequence[Step]
) -> list[dict[str, Any]]:
    """What a deploy is asked to run besides its own steps: the verb's, and the templates' where the
    verb has none of that name."""
    overridden = {step_id(step) for step in asked}
    _names, steps = template_steps(conn, vault, node)
    more = [step for step in steps if step_id(step) not in overridden]
    return [*(dict(step) for step in asked), *more]
