"""A scenario as a file: how many machines of what kind, what happens to them, and what must come of it.

title = "A rack loses power"
seconds = 900                          # the whole must end within

[fleet]
machines = 200                         # also racks, seed, speed, protocols, personalities
[cloud]
database = "sqlite"                    # or "postgresql"; only for a cloud of the scenario's own
settings = {deadlines = {agent = 120}}
[start]
state = "available"

[[act]]
do = "verb"                            # see `Act`
verb = "active"
wait = false
[[act]]
after = 5
do = "mains"
machines = "rack 1"
on = false

[expect]
state = "active"
share = 1.0
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

State = Literal["enroll", "manageable", "available"]


class ScenarioError(Exception):
    """A scenario that cannot be read, started or carried out; the text says what to do."""


class Fleet(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """racks: the machines are spread over so many, in order. speed: simulated seconds in a second.

    personalities: name -> share of the machines (`python -m ingot.lab.sim --list`).
    """

    machines: int
    racks: int = 10
    seed: int = 1
    speed: float = 100.0
    protocols: list[str] = msgspec.field(default_factory=lambda: ["redfish", "ipmi"])
    personalities: dict[str, float] = {}


class CloudPlan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A cloud of the scenario's own. settings: tables of `ingot.toml`."""

    database: Literal["sqlite", "postgresql"] = "sqlite"
    settings: dict[str, dict[str, Any]] = {}


class Start(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where all machines are before the first act."""

    state: State = "available"


class Act(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One thing that happens, `after` seconds after the act before it.

    do: "verb" (provision verb by the API; wait: until all machines rest), "power" (`power`: "power on", "power off",
    "rebooting" by the API), "mains" (a rack's feed, `on`), "partition" (`on`: no controller of the machines answers),
    "disks" (`mb_per_s`: how fast they write; 0 as before), "database" (restarted, gone for `seconds`),
    "controller" (kill -9, started again after `seconds`), "clock" (jumps by `seconds`), "wait" (until all rest).
    machines: "all", "rack N", or a share such as "10 %" (the first ones).
    """

    do: Literal[
        "verb", "power", "mains", "partition", "disks", "database", "controller", "clock", "wait"
    ]
    after: float = 0.0
    machines: str = "all"
    wait: bool = True
    verb: str = ""
    power: str = ""
    on: bool = True
    mb_per_s: float = 0.0
    seconds: float = 0.0


class Expect(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """share of the machines that end in `state`; all others must have stopped with a cause and a verb that leads on.

    powered: "power on" for all that ended well, "" for whatever it is.
    """

    state: str
    share: float = 1.0
    powered: str = ""


class Scenario(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    title: str
    fleet: Fleet
    expect: Expect
    act: list[Act]
    text: str = ""
    seconds: float = 3600.0
    cloud: CloudPlan = CloudPlan()
    start: Start = Start()

    @property
    def needs(self) -> tuple[str, ...]:
        """What only a cloud of the scenario's own can give."""
        own = ("database", "controller", "clock")
        return tuple(sorted({act.do for act in self.act if act.do in own}))

    def chosen(self, which: str) -> range:
        """Places of the machines that an act means. Raises ScenarioError."""
        count = self.fleet.machines
        if which == "all":
            return range(count)
        if which.startswith("rack "):
            size = -(-count // self.fleet.racks)
            number = int(which[5:]) if which[5:].isdigit() else 0
            if not 1 <= number <= self.fleet.racks:
                raise ScenarioError(f"there is no {which!r}; racks are 1 to {self.fleet.racks}")
            return range(min(count, (number - 1) * size), min(count, number * size))
        if which.endswith("%"):
            try:
                return range(round(count * float(which[:-1]) / 100))
            except ValueError:
                pass
        raise ScenarioError(f'machines = {which!r} is none of "all", "rack N", "N %"')


def read(path: Path) -> Scenario:
    """A scenario's file. Raises ScenarioError naming the place of what is wrong."""
    try:
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ScenarioError(f"{path}: {error}") from None
    for act in scenario.act:
        scenario.chosen(act.machines)
        if (act.do == "verb" and not act.verb) or (act.do == "power" and not act.power):
            raise ScenarioError(f"{path}: an act {act.do!r} needs the key {act.do!r} too")
    if act_before_database(scenario):
        raise ScenarioError(f'{path}: "database" needs [cloud] database = "postgresql"')
    return scenario


def act_before_database(scenario: Scenario) -> bool:
    """Whether a database is to be restarted that is no process."""
    return "database" in scenario.needs and scenario.cloud.database != "postgresql"


def shipped() -> dict[str, Path]:
    """The scenarios of the package: name -> file."""
    folder = Path(str(resources.files("ingot.lab.scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name: str) -> Path:
    """A shipped scenario by name, or a file. Raises ScenarioError with the names there are."""
    known = shipped()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    raise ScenarioError(f"no scenario {name!r}; there are {', '.join(known)}, or name a file")
