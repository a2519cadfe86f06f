"""The agent's commands: which there are, how long they take, what they answer.

One at a time, as there: while a command is unfinished any other is refused with AgentIsBusy.
Synchronous commands are finished in the reply; asynchronous ones force a heartbeat at their end.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tarfile
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from ingot.lab.sim.agent_errors import AgentError, LocalError
from ingot.lab.sim.agent_state import AgentState
from ingot.lab.sim.image_writer import check_image_info, write_image
from ingot.lab.sim.jsonshape import as_object

MANAGER_VERSIONS = {"generic_hardware_manager": "1.2"}
_KINDS = {"clean": "CleaningError", "deploy": "DeploymentError", "service": "ServicingError"}

Params = dict[str, Any]


def _steps(*rows: tuple[str, int, str], abortable: bool | None = True) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "priority": priority,
            "interface": interface,
            "reboot_requested": False,
            **({} if abortable is None else {"abortable": abortable}),
        }
        for step, priority, interface in rows
    ]


_IMAGE_ARGS = {
    "image_info": {"description": "A dictionary of image information.", "required": True},
    "configdrive": {"description": "The config drive, or its URL.", "required": False},
}
_BURNIN = (
    ("burnin_cpu", 0, "deploy"),
    ("burnin_disk", 0, "deploy"),
    ("burnin_memory", 0, "deploy"),
    ("burnin_network", 0, "deploy"),
)
_RAID = (("delete_configuration", 0, "raid"), ("create_configuration", 0, "raid"))

STEPS: dict[str, list[dict[str, Any]]] = {
    "clean": _steps(
        ("erase_devices", 10, "deploy"),
        ("erase_devices_metadata", 99, "deploy"),
        ("erase_devices_express", 0, "deploy"),
        ("erase_pstore", 0, "deploy"),
        ("clean_uefi_nvram", 0, "deploy"),
        *_RAID,
        *_BURNIN,
    ),
    "deploy": [
        *_steps(("erase_devices_metadata", 0, "deploy"), abortable=None),
        *_steps(("apply_configuration", 0, "raid"), abortable=None),
        *(
            {**row, "argsinfo": _IMAGE_ARGS}
            for row in _steps(("write_image", 0, "deploy"), abortable=None)
        ),
        *_steps(("inject_files", 0, "deploy"), abortable=None),
    ],
    "service": [
        *_steps(*_RAID, *_BURNIN),
        *(
            {**row, "argsinfo": _IMAGE_ARGS}
            for row in _steps(("write_image", 0, "deploy"), abortable=None)
        ),
    ],
}


class Command:
    """One accepted command, as `GET /v1/commands/<id>` shows it."""

    def __init__(self, name: str) -> None:
        self.id = str(uuid.uuid4())
        self.name = name
        self.status = "RUNNING"
        self.error: dict[str, object] | None = None
        self.result: object = None
        self.done = asyncio.Event()

    def succeed(self, result: object) -> None:
        self.status, self.result = "SUCCEEDED", result
        self.done.set()

    def fail(self, error: AgentError) -> None:
        mismatch = error.kind == "VersionMismatch"
        self.status = "CLEAN_VERSION_MISMATCH" if mismatch else "FAILED"
        self.error = error.as_dict()
        self.done.set()

    def as_dict(self) -> dict[str, object]:
        return {
            "id": self.id,
            "command_name": self.name,
            "command_status": self.status,
            "command_error": self.error,
            "command_result": self.result,
        }


class CommandTable:
    """All commands that one agent process was given, oldest first."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent
        self._commands: dict[str, Command] = {}
        self._sync: dict[str, Callable[[Params], object]] = {
            "standby.sync": lambda _params: None,
            "standby.get_partition_uuids": lambda _params: dict(self.partition_uuids),
            "log.collect_system_logs": lambda _params: {"system_logs": self._logs()},
            "rescue.finalize_rescue": self._finalize_rescue,
            "system.lockdown": self._lockdown,
            "poll.get_hardware_info": lambda _params: self._agent.inventory(),
        }
        self._async: dict[str, Callable[[Params, str], Awaitable[object]]] = {
            "standby.prepare_image": self._prepare_image,
            "standby.power_off": self._power_off,
            "standby.run_image": self._run_image,
            "image.install_bootloader": self._install_bootloader,
        }
        for kind in _KINDS:
            self._sync[f"{kind}.get_{kind}_steps"] = self._lister(kind)
            self._async[f"{kind}.execute_{kind}_step"] = self._executor(kind)
        self.partition_uuids: dict[str, str] = {}

    def all(self) -> list[Command]:
        return list(self._commands.values())

    def get(self, ident: str) -> Command | None:
        return self._commands.get(ident)

    def start(self, name: str, params: Params, source: str) -> Command:
        """Begin a command. Raises AgentError for those that are refused outright."""
        extension, _, short = name.partition(".")
        if not short:
            raise AgentError(
                "InvalidCommandError", "Command name must be of the form <extension>.<name>"
            )
        last = next(reversed(self._commands.values()), None)
        if last is not None and not last.done.is_set():
            raise AgentError("AgentIsBusy", f"executing command {last.name}")
        if not any(known.startswith(f"{extension}.") for known in (*self._sync, *self._async)):
            raise AgentError(
                "RequestedObjectNotFoundError", f"Extension with id {extension} not found."
            )
        command = Command(short)
        if name in self._sync:
            self._run_sync(command, self._sync[name], params)
        elif name in self._async:
            if name == "standby.prepare_image":
                check_image_info(params.get("image_info"))
            self._agent.start_job(self._run_async(command, self._async[name], params, source))
        else:
            raise AgentError("InvalidCommandError", f"Unknown command: {short}")
        self._commands[command.id] = command
        self._agent.machine.note("command", f"{name} from {source}")
        return command

    def _run_sync(self, command: Command, body: Callable[[Params], object], params: Params) -> None:
        try:
            command.succeed(body(params))
        except AgentError as error:
            if error.code == 400:
                raise
            command.fail(error)
        except LocalError as error:
            command.fail(AgentError("CommandExecutionError", str(error)))

    async def _run_async(
        self,
        command: Command,
        body: Callable[[Params, str], Awaitable[object]],
        params: Params,
        source: str,
    ) -> None:
        try:
            result = await body(params, source)
            if isinstance(result, str):
                result = {"result": f"{command.name}: {result}"}
            command.succeed(result)
        except AgentError as error:
            command.fail(error)
        except (LocalError, KeyError, TypeError, ValueError, AttributeError) as error:
            command.fail(AgentError("CommandExecutionError", str(error)))
        self._agent.machine.note("command ended", f"{command.name} {command.status}")
        self._agent.force_heartbeat()

    async def _take(self, purpose: str, bounds: tuple[float, float]) -> None:
        machine = self._agent.machine
        await machine.clock.sleep(machine.chance.between(purpose, bounds), "command")

    # Steps --------------------------------------------------------------------------------

    def _lister(self, kind: str) -> Callable[[Params], object]:
        def steps(params: Params) -> object:
            if "node" not in params or "ports" not in params:
                raise LocalError("TypeError", f"get_{kind}_steps() needs node and ports")
            return {
                f"{kind}_steps": {"generic_hardware_manager": STEPS[kind]},
                "hardware_manager_version": dict(MANAGER_VERSIONS),
            }

        return steps

    def _executor(self, kind: str) -> Callable[[Params, str], Awaitable[object]]:
        async def execute(params: Params, source: str) -> object:
            version = params.get(f"{kind}_version")
            if version is not None and version != MANAGER_VERSIONS:
                raise AgentError(
                    "VersionMismatch",
                    f"Current versions: {MANAGER_VERSIONS}, versions used by ironic: {version}",
                )
            step: Params = params["step"]
            if "step" not in step:
                raise LocalError("ValueError", f'Malformed {kind}_step, no "step" key: {step}')
            extra = {
                key: value
                for key, value in params.items()
                if key not in ("step", "node", "ports", f"{kind}_version")
            }
            extra.update(step.get("args") or {})
            whole = as_object(params.get("node")) or {}
            node = str(whole.get("uuid", ""))
            try:
                result = await self._step(kind, str(step["step"]), node, extra, source)
            except LocalError as error:
                raise AgentError(
                    _KINDS[kind],
                    f"Unexpected exception performing {kind} step {step['step']}. "
                    f"{error.kind}: {error}",
                ) from None
            if step["step"] == "create_configuration":
                # The agent gives back what it made: software RAID as it was asked for.
                result = as_object(whole.get("target_raid_config")) or {}
            return {f"{kind}_result": result, f"{kind}_step": step}

        return execute

    async def _step(self, kind: str, step: str, node: str, args: Params, source: str) -> object:
        timings = self._agent.machine.timings
        match step:
            case "write_image":
                check_image_info(args.get("image_info"))
                text = await self._write_image(args, node, source)
                return {"result": f"prepare_image: {text}"}
            case "erase_devices_metadata" | "erase_devices_express":
                await self._erase(step, timings.erase_metadata, node, source)
            case "erase_devices":
                await self._erase(step, timings.erase_devices, node, source)
            case _ if any(row["step"] == step for row in STEPS[kind]):
                await self._take(step, timings.short_command)
            case _:
                raise AgentError("HardwareManagerMethodNotFound", f"Could not find method: {step}")
        return None

    async def _erase(self, step: str, bounds: tuple[float, float], node: str, source: str) -> None:
        machine = self._agent.machine
        for disk in machine.hardware.disks:
            machine.act(step, disk.name, node, source)
        if machine.image is not None:
            machine.image = None
        await self._take(step, bounds)
        if machine.faults.take("erase_errors"):
            disk = machine.hardware.disks[0].name
            raise AgentError(
                "BlockDeviceEraseError",
                f'Failed to erase the metadata on the device(s): "{disk}": '
                "Unexpected error while running command. Exit code: 1. "
                "Stderr: 'wipefs: error: /dev/sda: probing initialization failed: "
                "Input/output error'",
            )

    # Stand-by, image, rescue, log, system -------------------------------------------------

    async def _prepare_image(self, params: Params, source: str) -> object:
        node = str((as_object(params.get("image_info")) or {}).get("node_uuid", ""))
        return await self._write_image(params, node, source)

    async def _write_image(self, args: Params, node: str, source: str) -> str:
        text, root = await write_image(self._agent, args, node, source)
        self.partition_uuids = {"root uuid": root}
        return text

    async def _power_off(self, params: Params, source: str) -> object:
        await self._take("short", self._agent.machine.timings.short_command)
        self._agent.machine.os_power_off()
        return None

    async def _run_image(self, params: Params, source: str) -> object:
        await self._take("short", self._agent.machine.timings.short_command)
        self._agent.machine.os_reboot()
        return None

    async def _install_bootloader(self, params: Params, source: str) -> object:
        machine = self._agent.machine
        await self._take("bootloader", machine.timings.bootloader)
        if machine.image is None or not machine.image.complete:
            disk = machine.hardware.disks[0].name
            raise AgentError(
                "DeviceNotFound",
                f"No EFI partition could be detected on device {disk} and EFI partition UUID "
                "has not been recorded during deployment (which is often the case for whole "
                "disk images). Are you using a UEFI-compatible image?",
            )
        return None

    def _finalize_rescue(self, params: Params) -> object:
        self._agent.start_job(self._agent.retire("rescue"))
        return None

    def _lockdown(self, params: Params) -> object:
        self._agent.start_job(self._agent.retire("locked"))
        return None

    def _logs(self) -> str:
        lines = [
            f"{entry.at:.1f} {entry.what} {entry.detail}" for entry in self._agent.machine.timeline
        ]
        data = "\n".join(lines).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in (
                ("journal", data),
                ("inventory", json.dumps(self._agent.inventory()).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return base64.b64encode(buffer.getvalue()).decode()
