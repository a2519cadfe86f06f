"""Delays and failures on demand for fake hardware.

Grammar of the options (rules are separated by `;`, the first that matches counts; `*` is any):

    fake_delay = "power.set=lognormal:2,0.5; *=fixed:0.1"
    fake_fail  = "power.set=0.1:busy; management.*=0.02"

Distributions, in seconds: `fixed:A`, `uniform:A,B`, `normal:MEAN,DEVIATION`,
`lognormal:MEDIAN,SIGMA`, `exponential:MEAN`; a bare number is `fixed`. A rule without a name is for
all. Failures: probability 0..1 and optionally the fault's kind (refused when not given).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.kit.faults import Invalid

LONGEST_DELAY = 3600.0
FAULTS: dict[str, type[DriverFault]] = {
    "unreachable": Unreachable,
    "bad_credentials": BadCredentials,
    "busy": Busy,
    "unsupported": Unsupported,
    "refused": Refused,
}


@dataclass(frozen=True)
class Rule:
    """`pattern` is "capability.verb", "capability.*" or "*"; `value` what stands behind =."""

    pattern: str
    value: str

    def matches(self, call: str) -> bool:
        if self.pattern in ("*", call):
            return True
        return self.pattern.endswith(".*") and call.startswith(self.pattern[:-1])


def delay_seconds(text: str, call: str, chance: random.Random) -> float:
    """How long `call` takes; 0 without a rule. Raises Invalid for a bad rule."""
    value = _first(text, call)
    return 0.0 if value is None else _draw(value, chance)


def failure(text: str, call: str, chance: random.Random) -> DriverFault | None:
    """The fault that `call` meets this time, or None. Raises Invalid for a bad rule."""
    value = _first(text, call)
    if value is None:
        return None
    share, _, kind = value.partition(":")
    fault = FAULTS.get(kind.strip() or "refused")
    if fault is None:
        raise _bad(value, "a fault is one of " + ", ".join(FAULTS))
    if chance.random() < _number(share, value):
        return fault(f"simulated fault in {call}")
    return None


def _first(text: str, call: str) -> str | None:
    for part in text.split(";"):
        if not part.strip():
            continue
        pattern, equals, value = part.partition("=")
        rule = Rule(pattern.strip(), value.strip()) if equals else Rule("*", part.strip())
        if rule.matches(call):
            return rule.value
    return None


def _draw(value: str, chance: random.Random) -> float:
    name, _, rest = value.partition(":")
    if not rest:
        name, rest = "fixed", value
    numbers = [_number(part, value) for part in rest.split(",")]
    match (name.strip(), *numbers):
        case ("fixed", seconds):
            drawn = float(seconds)
        case ("uniform", low, high):
            drawn = chance.uniform(float(low), float(high))
        case ("normal", mean, deviation):
            drawn = chance.gauss(float(mean), float(deviation))
        case ("lognormal", median, sigma):
            drawn = chance.lognormvariate(math.log(max(float(median), 1e-9)), float(sigma))
        case ("exponential", mean):
            drawn = chance.expovariate(1 / max(float(mean), 1e-9))
        case _:
            known = "fixed:A, uniform:A,B, normal:A,B, lognormal:A,B or exponential:A"
            raise _bad(value, f"a delay is {known}")
    return min(max(drawn, 0.0), LONGEST_DELAY)


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _bad(whole, f"{text.strip()!r} is not a number") from None
    if not math.isfinite(number) or number < 0:
        raise _bad(whole, "numbers are finite and not negative")
    return number


def _bad(value: str, why: str) -> Invalid:
    return Invalid(f"fake rule {value!r}: {why}", next_action="Correct driver_info.")
