"""How much is done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """nodes: in the inventory. seconds: of load a round. fakes, machines: in life-cycle and deploys.

    allocations: wanted a round. inventory: nodes of the long lists.
    fleet: machines of `fleet`; at_once: of them are deployed together; poll: seconds between two looks at a
    machine's power; managed: so many become available, the others stay enrolled.
    bmcs, period: controllers whose power is read, and once in how many seconds.
    """

    rounds: int = 3
    nodes: int = 1000
    seconds: float = 2.0
    fakes: int = 200
    machines: int = 50
    allocations: int = 100
    inventory: int = 10_000
    speed: float = 200.0
    fleet: int = 10_000
    at_once: int = 1000
    poll: int = 60
    managed: int = 10_000
    bmcs: int = 10_000
    period: float = 60.0


QUICK = Scale(
    rounds=1,
    nodes=200,
    seconds=0.5,
    fakes=40,
    machines=10,
    allocations=20,
    inventory=1500,
    fleet=300,
    at_once=50,
    bmcs=400,
    period=10,
)
