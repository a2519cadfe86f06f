"""Which hardware types exist, what they offer, and the drivers behind the names.

The table itself is `hardware.py`; this file looks things up in it. Interfaces are made once per
registry, at first use, and shared by all machines: they hold connections and pace, no states.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from ingot.drivers.machine import base
from ingot.drivers.machine.options import Option, Problem, check, unasked
from ingot.drivers.machine.types import Access
from ingot.kit.faults import Invalid

if TYPE_CHECKING:
    from ingot.drivers.machine.context import DriverContext

T = TypeVar("T")
Factory = Callable[["DriverContext"], object]
#: Of unknown options that are told of one interface.
MOST_WARNINGS = 10


@dataclass(frozen=True)
class InterfaceSpec:
    """One named implementation of a capability.

    options: keys of driver_info that it reads. prefixes: key prefixes it owns; an unknown key
    that begins with one of them is ignored, and told by `validate` as a likely misspelling.
    """

    capability: str
    name: str
    make: Factory
    options: tuple[Option, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HardwareType:
    """A hardware type: capability -> interfaces, the first of which is the default."""

    name: str
    description: str
    interfaces: Mapping[str, tuple[InterfaceSpec, ...]] = field(repr=False)


def _unknown(key: str, driver: str, known: list[str]) -> Problem:
    shown = key[:60]
    near = difflib.get_close_matches(shown, known, 1, 0.8)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return Problem(key, "unknown", f"{shown} is not an option of {driver} and is ignored{hint}")


class UnknownDriver(Invalid):
    """No such hardware type, or it is not enabled."""


class UnknownInterface(Invalid):
    """The hardware type does not offer an enabled interface of that name."""


class BadOptions(Invalid):
    """driver_info is incomplete or wrong; `problems` says where."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(
            "; ".join(p.text for p in problems),
            next_action="Correct driver_info.",
        )
        self.problems = problems


class Registry:
    """The drivers of one process.

    enabled_hardware_types: None = all. enabled_interfaces: capability -> names; None or a missing
    capability = all; the order is always the hardware type's. default_interfaces: capability -> the
    interface of nodes that choose none, for every hardware type; else it is the hardware type's
    first enabled one.

    Raises UnknownDriver and UnknownInterface for names that do not exist, and where a hardware type
    is left without any interface of a capability.
    """

    def __init__(
        self,
        context: DriverContext,
        hardware: Iterable[HardwareType],
        *,
        enabled_hardware_types: Iterable[str] | None = None,
        enabled_interfaces: Mapping[str, Iterable[str]] | None = None,
        default_interfaces: Mapping[str, str] | None = None,
    ) -> None:
        self.context = context
        known = {kind.name: kind for kind in hardware}
        wanted = list(known) if enabled_hardware_types is None else list(enabled_hardware_types)
        for name in wanted:
            if name not in known:
                raise UnknownDriver(
                    f"hardware type {name} does not exist",
                    next_action="Known hardware types: " + ", ".join(known) + ".",
                )
        self._types = {name: known[name] for name in wanted}
        self._enabled = {k: tuple(v) for k, v in (enabled_interfaces or {}).items()}
        self._defaults = dict(default_interfaces or {})
        self._made: dict[tuple[str, str, Factory], object] = {}
        #: By driver and interfaces: they are asked for before every call of a driver.
        self._options: dict[tuple[str, tuple[str | None, ...] | None], tuple[Option, ...]] = {}
        self._check_names(known.values())

    def _check_names(self, hardware: Iterable[HardwareType]) -> None:
        """What an operator enables and prefers must exist, and leave no hardware type half."""
        offered: dict[str, set[str]] = {name: set() for name in base.CAPABILITIES}
        for kind in hardware:
            for capability, specs in kind.interfaces.items():
                offered[capability] |= {spec.name for spec in specs}
        named = [(c, n) for c, names in self._enabled.items() for n in names]
        for capability, name in (*named, *self._defaults.items()):
            if capability not in offered:
                known = ", ".join(offered)
                raise UnknownInterface(f"there is no capability {capability}; there are {known}")
            if name not in offered[capability]:
                raise UnknownInterface(
                    f"no hardware type has a {capability} interface {name}",
                    next_action=f"There are: {', '.join(sorted(offered[capability]))}.",
                )
        for capability, name in self._defaults.items():
            if name not in self._enabled.get(capability, (name,)):
                raise UnknownInterface(f"the default {capability} interface {name} is not enabled")
        for driver in self._types:
            for capability in base.CAPABILITIES:
                if not self._specs(driver, capability):
                    raise UnknownInterface(
                        f"no enabled {capability} interface fits the hardware type {driver}",
                        next_action=f"Enable one that it has, or do not enable {driver}.",
                    )

    def hardware_types(self) -> tuple[str, ...]:
        """Names of the enabled hardware types, in order."""
        return tuple(self._types)

    def hardware(self, driver: str) -> HardwareType:
        """The hardware type; raises UnknownDriver."""
        try:
            return self._types[driver]
        except KeyError:
            raise UnknownDriver(
                f"no hardware type {driver} is enabled",
                next_action="Enabled hardware types: " + ", ".join(self._types) + ".",
            ) from None

    def enabled(self, driver: str, capability: str) -> tuple[str, ...]:
        """Names of the enabled interfaces of a capability, in the hardware type's order."""
        return tuple(spec.name for spec in self._specs(driver, capability))

    def default_name(self, driver: str, capability: str) -> str:
        """Name of the default interface; UnknownInterface when the operator's does not fit."""
        return self.spec(driver, capability, None).name

    def spec(self, driver: str, capability: str, name: str | None) -> InterfaceSpec:
        """The table's row for an interface; None = the default."""
        specs = self._specs(driver, capability)
        wanted = self._defaults.get(capability) if name is None else name
        for spec in specs:
            if wanted is None or spec.name == wanted:
                return spec
        if name is None:
            raise UnknownInterface(
                f"hardware type {driver} does not have the default {capability} interface {wanted}",
                next_action="Choose one: " + (", ".join(s.name for s in specs) or "none") + ".",
            )
        raise UnknownInterface(
            f"hardware type {driver} has no {capability} interface {name or 'enabled'}",
            next_action="Enabled: " + (", ".join(s.name for s in specs) or "none") + ".",
        )

    def resolve(self, driver: str, capability: str, name: str | None = None) -> object:
        """The driver object; the accessors below give it with its type."""
        spec = self.spec(driver, capability, name)
        key = (capability, spec.name, spec.make)
        if key not in self._made:
            self._made[key] = spec.make(self.context)
        return self._made[key]

    def power(self, driver: str, name: str | None = None) -> base.Power:
        return cast(base.Power, self.resolve(driver, "power", name))

    def management(self, driver: str, name: str | None = None) -> base.Management:
        return cast(base.Management, self.resolve(driver, "management", name))

    def boot(self, driver: str, name: str | None = None) -> base.Boot:
        return cast(base.Boot, self.resolve(driver, "boot", name))

    def deploy(self, driver: str, name: str | None = None) -> base.Deploy:
        return cast(base.Deploy, self.resolve(driver, "deploy", name))

    def inspect(self, driver: str, name: str | None = None) -> base.Inspect:
        return cast(base.Inspect, self.resolve(driver, "inspect", name))

    def network(self, driver: str, name: str | None = None) -> base.Network:
        return cast(base.Network, self.resolve(driver, "network", name))

    def storage(self, driver: str, name: str | None = None) -> base.Storage:
        return cast(base.Storage, self.resolve(driver, "storage", name))

    def console(self, driver: str, name: str | None = None) -> base.Console:
        return cast(base.Console, self.resolve(driver, "console", name))

    def raid(self, driver: str, name: str | None = None) -> base.Raid:
        return cast(base.Raid, self.resolve(driver, "raid", name))

    def bios(self, driver: str, name: str | None = None) -> base.Bios:
        return cast(base.Bios, self.resolve(driver, "bios", name))

    def firmware(self, driver: str, name: str | None = None) -> base.Firmware:
        return cast(base.Firmware, self.resolve(driver, "firmware", name))

    def vendor(self, driver: str, name: str | None = None) -> base.Vendor:
        return cast(base.Vendor, self.resolve(driver, "vendor", name))

    def rescue(self, driver: str, name: str | None = None) -> base.Rescue:
        return cast(base.Rescue, self.resolve(driver, "rescue", name))

    def options(
        self, driver: str, interfaces: Mapping[str, str | None] | None = None
    ) -> tuple[Option, ...]:
        """Options of the chosen interfaces (None = defaults); `interfaces` may be partial.

        With interfaces=None: those of every enabled interface, as the driver's properties.
        """
        chosen = None
        if interfaces is not None:
            chosen = tuple(interfaces.get(name) for name in base.CAPABILITIES)
        key = (driver, chosen)
        if key not in self._options:
            self._options[key] = self._find_options(driver, interfaces)
        return self._options[key]

    def _find_options(
        self, driver: str, interfaces: Mapping[str, str | None] | None
    ) -> tuple[Option, ...]:
        found: dict[str, Option] = {}
        for capability in base.CAPABILITIES:
            specs = self._specs(driver, capability)
            if interfaces is not None:
                specs = (self.spec(driver, capability, interfaces.get(capability)),)
            for spec in specs:
                for option in spec.options:
                    found.setdefault(option.name, option)
        return tuple(found.values())

    def properties(self, driver: str) -> dict[str, str]:
        """Option name -> description: the body of GET /v1/drivers/{driver}/properties."""
        return {option.name: option.text() for option in self.options(driver)}

    def secret_names(self, driver: str) -> frozenset[str]:
        """Names of the options that must be kept encrypted and masked."""
        return frozenset(o.name for o in self.options(driver) if o.secret)

    def validate(
        self,
        driver: str,
        driver_info: Mapping[str, object],
        interfaces: Mapping[str, str | None] | None = None,
    ) -> dict[str, tuple[Problem, ...]]:
        """Capability -> what is wrong with driver_info for its chosen interface."""
        chosen = interfaces or {}
        found: dict[str, tuple[Problem, ...]] = {}
        for capability in base.CAPABILITIES:
            options = self.spec(driver, capability, chosen.get(capability)).options
            found[capability] = check(options, driver_info)[1] + unasked(
                options, driver_info, self.context.egress
            )
        return found

    def _problems(
        self, driver: str, capability: str, name: str | None, driver_info: Mapping[str, object]
    ) -> tuple[Problem, ...]:
        return check(self.spec(driver, capability, name).options, driver_info)[1]

    def warnings(
        self,
        driver: str,
        driver_info: Mapping[str, object],
        interfaces: Mapping[str, str | None] | None = None,
    ) -> dict[str, tuple[Problem, ...]]:
        """Capability -> keys with a prefix of its interface that the driver does not know, and ignores."""
        chosen = interfaces or {}
        known = [option.name for option in self.options(driver)]
        unknown = [key for key in driver_info if key not in known]
        found: dict[str, tuple[Problem, ...]] = {}
        for capability in base.CAPABILITIES:
            prefixes = self.spec(driver, capability, chosen.get(capability)).prefixes
            mine = [key for key in unknown if prefixes and key.startswith(prefixes)]
            found[capability] = tuple(_unknown(key, driver, known) for key in mine[:MOST_WARNINGS])
        return found

    def access(
        self,
        driver: str,
        driver_info: Mapping[str, object],
        interfaces: Mapping[str, str | None] | None = None,
        *,
        key: str = "",
        capabilities: Iterable[str] = ("power", "management"),
    ) -> Access:
        """driver_info, secrets in plain text, as a typed Access. Raises BadOptions.

        Only problems of `capabilities` count: a machine with a wrong console port can still be
        switched off. `key`: the node's uuid.
        """
        chosen = interfaces or {}
        bad = {
            problem.text: problem
            for name in capabilities
            for problem in self._problems(driver, name, chosen.get(name), driver_info)
        }
        if bad:
            raise BadOptions(tuple(bad.values()))
        typed, _ = check(self.options(driver), driver_info)
        return Access(driver, {k: v for k, v in typed.items() if v is not None}, key)

    async def aclose(self) -> None:
        """Close connections; call once at shutdown."""
        await self.context.aclose()

    def _specs(self, driver: str, capability: str) -> tuple[InterfaceSpec, ...]:
        specs = self.hardware(driver).interfaces.get(capability, ())
        wanted = self._enabled.get(capability)
        if wanted is None:
            return specs
        return tuple(s for s in specs if s.name in wanted)
