"""HTTP control of a running fleet, on loopback, for tests and people in another process.

GET  /machines                      all machines in short
GET  /machines/NAME                 one: state, timeline, image, faults
GET  /machines/NAME/commands        state-changing BMC commands
GET  /machines/NAME/acts            what destroyed data, and who asked
GET  /machines/NAME/console         the last 16 KiB of the serial console (text)
POST /machines/NAME/inject          {"personality": name} or {"faults": {knob: value}}
POST /machines/NAME/heal            back to a healthy machine
POST /machines/NAME/alert           {"text": …, "severity": Warning}: an event to the BMC's subscribers
POST /machines/NAME/pull, /plug     mains off, mains on
POST /machines/NAME/step            {"label": optional, "timeout": s}; stepped time only
POST /inject                        {"names": [NAME…], "faults": {knob: value}}: the same of many
POST /mains                         {"names": [NAME…], "on": bool}
POST /swap                          {"a": NAME, "b": NAME}: exchange two BMCs
GET  /commands, /acts               the same of the whole fleet, oldest first
GET  /enrolment[?name=NAME…]        the file for `openstack baremetal create`
GET  /personalities                 what there is, with sources
GET  /polls                         when each BMC told its power (real monotonic seconds), and the time now
GET  /status                        counts by state
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ingot.lab.sim.clock import SteppedClock
from ingot.lab.sim.fleet import Fleet
from ingot.lab.sim.jsonshape import as_object, read_object
from ingot.lab.sim.listeners import tcp_listener
from ingot.lab.sim.machine import Machine
from ingot.lab.sim.personalities import PERSONALITIES


class ControlServer:
    """`async with ControlServer(fleet, port) as control:`; `url` tells where it is."""

    def __init__(self, fleet: Fleet, port: int = 0, address: str = "127.0.0.1") -> None:
        self._fleet = fleet
        self._sock: socket.socket = tcp_listener(address, port)
        self.url = f"http://{address}:{self._sock.getsockname()[1]}"
        app = web.Application(middlewares=[_errors])
        app.add_routes(
            [
                web.get("/machines", self._list),
                web.get("/machines/{name}", self._show),
                web.get("/machines/{name}/commands", self._machine_commands),
                web.get("/machines/{name}/acts", self._machine_acts),
                web.get("/machines/{name}/console", self._console),
                web.post("/machines/{name}/inject", self._inject),
                web.post("/machines/{name}/heal", self._heal),
                web.post("/machines/{name}/alert", self._alert),
                web.post("/machines/{name}/pull", self._pull),
                web.post("/machines/{name}/plug", self._plug),
                web.post("/machines/{name}/step", self._step),
                web.post("/inject", self._inject_many),
                web.post("/mains", self._mains),
                web.post("/swap", self._swap),
                web.get("/commands", self._commands),
                web.get("/acts", self._acts),
                web.get("/enrolment", self._enrolment),
                web.get("/personalities", self._personalities),
                web.get("/polls", self._polls),
                web.get("/status", self._status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> ControlServer:
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _machine(self, request: web.Request) -> Machine:
        name = request.match_info["name"]
        if name not in self._fleet.machines:
            raise web.HTTPNotFound(text=f"no machine {name!r}")
        return self._fleet.machines[name]

    def _short(self, machine: Machine) -> dict[str, object]:
        unit = self._fleet.unit(machine.name)
        return {
            "name": machine.name,
            "uuid": machine.identity.uuid,
            "serial": machine.identity.serial,
            "macs": [nic.mac for nic in machine.hardware.nics],
            "personality": machine.personality,
            "protocol": unit.protocol,
            "bmc": f"{unit.address}:{unit.port}",
            "power": machine.power.value,
            "running": machine.running,
            "boots": machine.boots,
            "image": machine.image.image_id if machine.image and machine.image.complete else None,
        }

    async def _list(self, _request: web.Request) -> web.Response:
        machines = self._fleet.machines.values()
        return web.json_response({"machines": [self._short(one) for one in machines]})

    async def _show(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        clock = machine.clock
        return web.json_response(
            self._short(machine)
            | {
                "faults": machine.faults.as_dict(),
                "disk": asdict(machine.image) if machine.image else None,
                "pending": clock.pending() if isinstance(clock, SteppedClock) else None,
                "timeline": [asdict(entry) for entry in machine.timeline],
            }
        )

    async def _machine_commands(self, request: web.Request) -> web.Response:
        bmc = self._fleet.bmc(self._machine(request).name)
        rows = [asdict(one) for one in bmc.commands]
        return web.json_response({"commands": rows, "requests": bmc.requests})

    async def _machine_acts(self, request: web.Request) -> web.Response:
        rows = [asdict(one) for one in self._machine(request).destructive_acts]
        return web.json_response({"acts": rows})

    async def _console(self, request: web.Request) -> web.Response:
        return web.Response(text=self._machine(request).serial.text())

    async def _inject(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        self._fleet.inject(machine.name, _fault_in(await _body(request)))
        return web.json_response(machine.faults.as_dict())

    def _named(self, body: dict[str, Any]) -> list[str]:
        """The machines that a request is about; 404 for one that is not there."""
        names = [str(name) for name in body.get("names") or ()]
        for name in names:
            if name not in self._fleet.machines:
                raise web.HTTPNotFound(text=f"no machine {name!r}")
        return names

    async def _inject_many(self, request: web.Request) -> web.Response:
        body = await _body(request)
        knobs = as_object(body.get("faults"))
        if knobs is None:
            raise web.HTTPBadRequest(text="needs faults (an object)")
        for name in self._named(body):
            self._fleet.inject(name, knobs)
        return web.json_response({})

    async def _mains(self, request: web.Request) -> web.Response:
        body = await _body(request)
        for name in self._named(body):
            if body.get("on"):
                await self._fleet.plug_in(name)
            else:
                await self._fleet.pull_plug(name)
        return web.json_response({})

    async def _heal(self, request: web.Request) -> web.Response:
        self._fleet.heal(self._machine(request).name)
        return web.json_response({})

    async def _alert(self, request: web.Request) -> web.Response:
        machine, body = self._machine(request), await _body(request)
        self._fleet.alert(machine.name, str(body.get("text")), str(body.get("severity", "Warning")))
        return web.json_response({})

    async def _pull(self, request: web.Request) -> web.Response:
        await self._fleet.pull_plug(self._machine(request).name)
        return web.json_response({})

    async def _plug(self, request: web.Request) -> web.Response:
        await self._fleet.plug_in(self._machine(request).name)
        return web.json_response({})

    async def _step(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        body = await _body(request)
        try:
            label = await machine.step(body.get("label"), float(body.get("timeout", 10)))
        except TimeoutError as problem:
            raise web.HTTPConflict(text=str(problem)) from None
        except RuntimeError as problem:
            raise web.HTTPBadRequest(text=str(problem)) from None
        return web.json_response({"label": label})

    async def _swap(self, request: web.Request) -> web.Response:
        body = await _body(request)
        names = [str(body.get("a", "")), str(body.get("b", ""))]
        for name in names:
            if name not in self._fleet.machines:
                raise web.HTTPNotFound(text=f"no machine {name!r}")
        self._fleet.swap_bmcs(*names)
        return web.json_response({})

    async def _commands(self, _request: web.Request) -> web.Response:
        rows = [{"machine": name} | asdict(one) for name, one in self._fleet.commands()]
        return web.json_response({"commands": rows})

    async def _acts(self, _request: web.Request) -> web.Response:
        rows = [{"machine": name} | asdict(one) for name, one in self._fleet.destructive_acts()]
        return web.json_response({"acts": rows})

    async def _enrolment(self, request: web.Request) -> web.Response:
        return web.json_response(self._fleet.enrolment(*request.query.getall("name", [])))

    async def _personalities(self, _request: web.Request) -> web.Response:
        rows = [
            {
                "name": one.name,
                "summary": one.summary,
                "source": one.source,
                "expect": one.expect,
                "cause": one.cause,
            }
            for one in PERSONALITIES.values()
        ]
        return web.json_response({"personalities": rows})

    async def _polls(self, _request: web.Request) -> web.Response:
        fleet = self._fleet
        polls = {name: list(fleet.bmc(name).told_power_at) for name in fleet.machines}
        return web.json_response({"now": time.monotonic(), "polls": polls})

    async def _status(self, _request: web.Request) -> web.Response:
        machines = self._fleet.machines.values()
        return web.json_response(
            {
                "machines": len(self._fleet.machines),
                "running": Counter(one.running for one in machines),
                "personalities": Counter(one.personality for one in machines),
                "network": self._fleet.network,
                "seed": self._fleet.options.seed,
                "simulated_seconds": self._fleet.clock.now(),
            }
        )


def _fault_in(body: dict[str, Any]) -> str | dict[str, object]:
    """A personality's name or the knobs of `Faults`."""
    name, knobs = body.get("personality"), as_object(body.get("faults"))
    fault = name if isinstance(name, str) else knobs
    if fault is None:
        raise web.HTTPBadRequest(text="needs personality (a name) or faults (an object)")
    return fault


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = read_object(await request.read() or b"{}")
    except ValueError:
        raise web.HTTPBadRequest(text="the body is not JSON") from None
    if body is None:
        raise web.HTTPBadRequest(text="the body must be an object")
    return body


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)
    except KeyError as problem:
        return web.json_response({"error": f"unknown: {problem}"}, status=400)
    except web.HTTPException as problem:
        return web.json_response({"error": problem.text}, status=problem.status)
