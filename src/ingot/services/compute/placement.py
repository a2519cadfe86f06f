"""Which machine gets a server: a pure choice over the machines that are free.

A flavor says what it needs in its extra specs:
    resources:CUSTOM_X=1        a machine whose resource class is X (written in any case, with - or _)
    trait:CUSTOM_T=required     or forbidden
    capabilities:k=v            of the machine's properties; "<in> v" and "s== v" are understood
A flavor without a resource class takes the machines without one (by the site's option those of any class) that
have at least its vcpus, ram and disk; a size that nobody has told is not enough.
The choice is the same for the same machines: the smallest that fits, the earliest enrolled among equals. Where many
are free, it is made among some of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import Candidate, CandidateQuery

_CLASS = "resources"
_TRAIT = "trait"
_CAPABILITY = "capabilities"
_STANDARD = frozenset({"VCPU", "MEMORY_MB", "DISK_GB"})


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What a flavor asks of a machine.

    classes: normalized resource classes with their amounts. vcpus, ram (MiB), disk (GiB): least sizes.
    """

    classes: Mapping[str, int] = field(default_factory=dict[str, int])
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    capabilities: Mapping[str, str] = field(default_factory=dict[str, str])
    vcpus: int = 0
    ram: int = 0
    disk: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """One request: the flavor's request and what the server's own order adds.

    networks: physical networks that must be reached, one entry for each port wanted.
    node: uuid or name of the only machine wanted. excluded: machines that failed already. any_class: as in the settings.
    traits: more that are required, as the image says.
    """

    request: PlacementRequest
    networks: tuple[str, ...] = ()
    ports: int = 0
    node: str | None = None
    project_id: str = ""
    excluded: frozenset[str] = frozenset()
    any_class: bool = False

    def accepts(self, name: str | None) -> bool:
        """Whether machines of this resource class, as it is written there, are meant."""
        if not self.request.classes:
            return self.any_class or not name
        return set(self.request.classes) == {resource_class(name)}

    def look(self) -> CandidateQuery:
        """What the database is to look for."""
        request = self.request
        return CandidateQuery(
            self.accepts, request.required, self.node, self.project_id, self.excluded
        )


def resource_class(name: str | None) -> str:
    """A machine's resource class as flavors name it: upper case, CUSTOM_ in front."""
    if not name:
        return ""
    upper = re.sub(r"[^A-Z0-9_]", "_", name.upper())
    return upper if upper.startswith("CUSTOM_") else f"CUSTOM_{upper}"


def request_of(
    extra_specs: Mapping[str, str], vcpus: int, ram: int, disk: int, traits: Collection[str] = ()
) -> PlacementRequest:
    """What a flavor asks for. Sizes count only where the flavor names no resource class of its own."""
    classes: dict[str, int] = {}
    required, forbidden = set(traits), set[str]()
    capabilities: dict[str, str] = {}
    for key, value in extra_specs.items():
        scope, colon, name = key.partition(":")
        if not colon:
            continue
        if scope == _CLASS and name not in _STANDARD and _amount(value) > 0:
            classes[name if name.startswith("CUSTOM_") else resource_class(name)] = _amount(value)
        elif scope == _TRAIT:
            (forbidden if value.strip().lower() == "forbidden" else required).add(name)
        elif scope == _CAPABILITY:
            capabilities[name] = value
    sizes = (0, 0, 0) if classes else (vcpus, ram, disk)
    return PlacementRequest(
        classes, frozenset(required), frozenset(forbidden), capabilities, *sizes
    )


def _amount(value: str) -> int:
    return int(value) if value.strip().isdecimal() else 0


def rank(candidates: Sequence[Candidate], placing: Placement) -> list[Candidate]:
    """The machines that fit, the best first."""
    fitting = [c for c in candidates if not any(test(c) for _, test in _tests(placing))]
    order = {c.uuid: place for place, c in enumerate(candidates)}
    return sorted(fitting, key=lambda c: (_waste(c, placing.request), order[c.uuid]))


def _waste(candidate: Candidate, request: PlacementRequest) -> tuple[int, int, int, int]:
    """Traits nobody asked for first (keep special machines for those who need them), then size."""
    spare = len(candidate.traits - request.required)
    return (spare, candidate.memory_mb, candidate.cpus, candidate.local_gb)


Test = Callable[[Candidate], bool]


def _tests(placing: Placement) -> list[tuple[str, Test]]:
    """Every reason why a machine may not do, in the order in which people think of them."""
    request = placing.request
    tests: list[tuple[str, Test]] = []
    if placing.node is not None:
        wanted = placing.node
        tests.append((f"not the machine {wanted}", lambda c: wanted not in (c.uuid, c.name)))
    for name, amount in sorted(request.classes.items()):
        if amount > 1:
            tests.append((f"a machine has {name} once, {amount} are wanted", lambda _c: True))
        tests.append(
            (f"another resource class than {name}", _differs(name)),
        )
    if not request.classes and not placing.any_class:
        tests.append(
            ("of a resource class, and the flavor names none", lambda c: bool(c.resource_class))
        )
    if placing.excluded:
        tests.append(("failed for this server already", lambda c: c.uuid in placing.excluded))
    for trait in sorted(request.required):
        tests.append((f"without trait {trait}", _lacks(trait)))
    for trait in sorted(request.forbidden):
        tests.append((f"with the forbidden trait {trait}", _has(trait)))
    for key, value in sorted(request.capabilities.items()):
        tests.append((f"without capability {key}:{value}", _unable(key, value)))
    if request.vcpus or request.ram or request.disk:
        text = f"smaller than {request.vcpus} CPUs, {request.ram} MiB and {request.disk} GiB"
        tests.append((text, lambda c: _smaller(c, request)))
    for network in sorted(set(placing.networks)):
        tests.append((f"without a port on physical network {network}", _unwired(network)))
    if placing.ports:
        ports = placing.ports
        tests.append((f"with fewer than {ports} network ports", lambda c: c.ports < ports))
    tests.append(
        ("reserved for another project", lambda c: c.lessee not in (None, placing.project_id))
    )
    return tests


def _differs(name: str) -> Test:
    return lambda c: resource_class(c.resource_class) != name


def _lacks(trait: str) -> Test:
    return lambda c: trait not in c.traits


def _has(trait: str) -> Test:
    return lambda c: trait in c.traits


def _unable(key: str, value: str) -> Test:
    return lambda c: not matches(c.capabilities.get(key), value)


def _unwired(network: str) -> Test:
    # A port without a physical network may be on any wire.
    return lambda c: bool(c.networks) and network not in c.networks


def _smaller(candidate: Candidate, request: PlacementRequest) -> bool:
    """Sizes that nobody has told are not enough: inspect the machine, or let the flavor name its class."""
    pairs = (
        (candidate.cpus, request.vcpus),
        (candidate.memory_mb, request.ram),
        (candidate.local_gb, request.disk),
    )
    return any(have < need for have, need in pairs)


def matches(have: str | None, wanted: str) -> bool:
    """Whether a capability's value satisfies what a flavor writes."""
    if have is None:
        return False
    text = wanted.strip()
    if text.startswith("<in> "):
        return text[5:].strip() in have
    if text.startswith("<or> "):
        return have in [part.strip() for part in text.split("<or>") if part.strip()]
    if text.startswith("s== "):
        return have == text[4:].strip()
    return have == text


def no_valid_host(
    candidates: Sequence[Candidate], placing: Placement, total: int | None = None
) -> Fault:
    """The fault that says what was missing: how many machines were free (total), and what each of some lacked."""
    total = len(candidates) if total is None else max(total, len(candidates))
    if not total:
        why = "No machine is available (enrolled, provided, powered and without a server)"
    else:
        counts: Counter[str] = Counter()
        for candidate in candidates:
            reasons = [text for text, test in _tests(placing) if test(candidate)]
            counts[reasons[0] if reasons else "taken by another server meanwhile"] += 1
        told = ", ".join(f"{number} {text}" for text, number in counts.most_common())
        some = f", of {len(candidates)} looked at" if total > len(candidates) else ""
        why = f"{total} available machine{'s' if total > 1 else ''}{some}: {told}"
    return Fault(
        f"No valid host was found. There are not enough hosts available. {why}.",
        kind=Kind.CONFLICT,
        next_action="Provide a machine that fits, choose another flavor, or delete servers.",
        details={"no_valid_host": True},
    )
