"""Reads the part of iPXE's script language that boot servers use.

Commands: `set`, `inc`, `echo`, `kernel`, `initrd`, `chain`, `boot`, `sanboot`, `exit`, `goto`, labels,
`isset`, `iseq`, `sleep`, `imgfree`, `dhcp`, `ifopen`, `ifconf`, `poweroff`, `reboot`, joined by
`||` and `&&`. Anything else fails like iPXE's "command not found". Menus, `login` and `prompt`
are left out: nobody sits in front of a simulated machine.

As with iPXE a script may ask again for ever, as one does that says "nothing yet": `sleep` takes its time, and
`chain --replace` leaves nothing behind that would end.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin

MAX_STEPS = 500
MAX_CHAIN = 5


class BootFailed(Exception):
    """The script ended without anything to boot; the text is iPXE's view of why."""


@dataclass(frozen=True)
class BootTarget:
    """What the script decided: `kernel`, `disk` (local drive), `next`, `off` or `reset`."""

    kind: str
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    params: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class _Replaced:
    """The script's place was taken by another one."""

    script: str
    url: str


#: Of one line: the end of the script, a label to go to, or nothing.
_Outcome = BootTarget | _Replaced | str | None
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_JOINT = re.compile(r"\s(\|\||&&)\s")


def kernel_params(words: list[str]) -> dict[str, str]:
    """`a=b` words of a kernel command line; a bare word maps to an empty text."""
    params: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        params[key] = value
    return params


class ScriptRun:
    """One run of a script for one NIC.

    `fetch` gets a chained script, `check` a boot file, both raise BootFailed; `pause` sleeps so many seconds.
    """

    def __init__(
        self,
        variables: dict[str, str],
        fetch: Callable[[str], Awaitable[str]],
        check: Callable[[str], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        self._variables = variables
        self._fetch = fetch
        self._check = check
        self._pause = pause
        self._say = say
        self._kernel = ""
        self._words: list[str] = []
        self._initrds: list[str] = []
        self._budget = MAX_STEPS

    async def run(self, script: str, url: str, depth: int = 0) -> BootTarget:
        """What the script, got from `url`, decides. Raises BootFailed."""
        ended = await self._run(script, url, depth)
        while isinstance(ended, _Replaced):
            ended = await self._run(ended.script, ended.url, depth)
        return ended

    async def _run(self, script: str, url: str, depth: int) -> BootTarget | _Replaced:
        lines = script.splitlines()
        if not lines or not lines[0].startswith("#!ipxe"):
            raise BootFailed(f"{url}: exec format error (no #!ipxe in the first line)")
        labels = {
            line.strip()[1:].split()[0]: number
            for number, line in enumerate(lines)
            if line.strip().startswith(":") and len(line.strip()) > 1
        }
        position = 0
        while position < len(lines):
            self._budget -= 1
            if self._budget < 0:
                raise BootFailed(f"{url}: script does not end")
            line = lines[position].strip()
            position += 1
            if not line or line[0] in "#:":
                continue
            outcome = await self._line(line, url, depth)
            if isinstance(outcome, BootTarget | _Replaced):
                return outcome
            if isinstance(outcome, str):
                if outcome not in labels:
                    raise BootFailed(f"{url}: no label {outcome!r}")
                position = labels[outcome]
        return BootTarget("next")

    def _expand(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            base, _, form = name.rpartition(":")
            found = self._variables.get(base or name, "")
            return found.replace(":", "-") if form == "hexhyp" else found

        return _VARIABLE.sub(value, text)

    async def _line(self, line: str, url: str, depth: int) -> _Outcome:
        parts = _JOINT.split(line)
        good = True
        joint = ""
        outcome: _Outcome = None
        reason = ""
        for part in parts:
            if part in ("||", "&&"):
                joint = part
                continue
            if (joint == "||" and good) or (joint == "&&" and not good):
                continue
            try:
                outcome = await self._command(self._expand(part).split(), url, depth)
                good = True
            except BootFailed as failure:
                good, reason = False, str(failure)
                self._say(reason + "\n")
            if outcome is not None and good:
                return outcome
        if not good and not line.rstrip().endswith("||"):
            raise BootFailed(reason)
        return None

    async def _command(self, words: list[str], url: str, depth: int) -> _Outcome:
        if not words:
            return None
        name, rest = words[0], words[1:]
        if name in ("echo", "imgfree", "dhcp", "ifopen", "ifconf", "clear", "imgstat"):
            if name == "echo":
                self._say(" ".join(rest) + "\n")
            return None
        if name == "sleep":
            await self._sleep(rest)
            return None
        if name == "set":
            if rest:
                self._variables[_untyped(rest[0])] = " ".join(rest[1:])
            return None
        if name == "inc":
            self._increase(rest)
            return None
        if name == "isset":
            if not rest:
                raise BootFailed("not set")
            return None
        if name == "iseq":
            if len(rest) != 2 or rest[0] != rest[1]:
                raise BootFailed("not equal")
            return None
        return await self._boot_command(name, rest, url, depth)

    def _increase(self, rest: list[str]) -> None:
        place, step = _untyped(rest[0]) if rest else "", rest[1] if len(rest) > 1 else "1"
        before = self._variables.get(place) or "0"
        if not place or not before.isdigit() or not step.isdigit():
            raise BootFailed("inc: not a number")
        self._variables[place] = str(int(before) + int(step))

    async def _sleep(self, rest: list[str]) -> None:
        if len(rest) != 1 or not rest[0].isdigit():
            raise BootFailed("sleep: not a number of seconds")
        await self._pause(float(rest[0]))
        if int(rest[0]):
            self._budget = MAX_STEPS  # it may go on so for ever, as long as it lets time pass

    async def _boot_command(self, name: str, rest: list[str], url: str, depth: int) -> _Outcome:
        plain = _without_options(rest)
        match name:
            case "goto":
                return rest[0] if rest else ""
            case "kernel" | "imgfetch" | "initrd":
                if not plain:
                    raise BootFailed(f"{name}: no file named")
                target = urljoin(url, plain[0])
                await self._check(target)
                if name == "kernel":
                    self._kernel, self._words = target, plain[1:]
                else:
                    self._initrds.append(target)
                return None
            case "boot":
                if not self._kernel:
                    raise BootFailed("boot: no executable image")
                return BootTarget(
                    "kernel", self._kernel, tuple(self._initrds), kernel_params(self._words)
                )
            case "chain":
                if depth >= MAX_CHAIN or not plain:
                    raise BootFailed("chain: too deep or nothing named")
                target = urljoin(url, plain[0])
                script = await self._fetch(target)
                if "--replace" in rest[: len(rest) - len(plain)]:
                    return _Replaced(script, target)
                return await self.run(script, target, depth + 1)
            case "sanboot":
                return BootTarget("disk")
            case "exit":
                return BootTarget("next")
            case "poweroff":
                return BootTarget("off")
            case "reboot":
                return BootTarget("reset")
            case _:
                raise BootFailed(f"{name}: command not found")


_WITH_VALUE = {"--timeout", "-t", "--name", "-n", "--drive", "-d", "--filename", "-f"}


def _untyped(name: str) -> str:
    """A setting's name without its type: `tries` of `tries:int32`."""
    return name.partition(":")[0]


def _without_options(words: list[str]) -> list[str]:
    """Drop iPXE's own options in front of the file name; what follows it is the kernel's."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in _WITH_VALUE else 1
    return words[position:]
