"""Scenarios: what happens to a fleet of simulated machines, as a file that is carried out against a cloud.

    outcome = await play(read(find("power-on-storm")), say=print)

Without `cloud` it starts one of its own: `ingot serve` on loopback, with a PostgreSQL where the file says so.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from ingot.cli.client import auth_of
from ingot.lab.scenarios.api import Api, check_listener
from ingot.lab.scenarios.processes import Machines, OwnCloud
from ingot.lab.scenarios.running import Outcome, Runner, Say, show
from ingot.lab.scenarios.script import Scenario, ScenarioError, find, read, shipped

__all__ = [
    "Outcome",
    "Scenario",
    "ScenarioError",
    "find",
    "play",
    "read",
    "shipped",
    "show",
]


async def play(
    scenario: Scenario,
    say: Say,
    *,
    cloud: str = "",
    clouds: str | None = None,
    boot_url: str = "",
    remove: bool = False,
    folder: Path | None = None,
) -> Outcome:
    """Carry a scenario out. cloud: of a clouds.yaml; its machines boot from `boot_url` (provisioning listener).

    remove: nodes of the machines' names go from that cloud, before and after. folder: for the processes' files and
    logs, kept; else a temporary one. Raises ScenarioError.
    """
    if cloud and scenario.needs:
        raise ScenarioError(
            f"{', '.join(scenario.needs)}: only a cloud of the scenario's own can do that; leave --cloud out"
        )
    if cloud and not boot_url:
        raise ScenarioError("with --cloud, say with --boot-url where its provisioning listener is")
    if cloud:
        await check_listener(boot_url, deploys="active" in (act.verb for act in scenario.act))
    async with contextlib.AsyncExitStack() as stack:
        if folder is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingot-scenario-"))
            folder = Path(made)
            folder.chmod(0o711)  # PostgreSQL's user must get through
        folder.mkdir(parents=True, exist_ok=True)
        own: OwnCloud | None = None
        if not cloud:
            own = OwnCloud(folder, scenario.cloud, jumps="clock" in scenario.needs)
            stack.push_async_callback(own.stop)
            await own.start()
            cloud, clouds, boot_url = "ingot-system", str(own.clouds), own.boot_url
        machines = Machines(folder)
        stack.push_async_callback(machines.stop)
        await machines.start(scenario.fleet, boot_url)
        api = await stack.enter_async_context(Api(auth_of(cloud, clouds)))
        runner = Runner(scenario, api, machines, own, say)
        if own is not None or not remove:
            return await runner.run()
        await runner.remove()
        try:
            return await runner.run()
        finally:
            await runner.remove()
