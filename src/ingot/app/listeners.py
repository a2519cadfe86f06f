"""What each listener serves: all APIs on one port, and on another only what a booting machine may reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ingot.app import space
from ingot.app.access import Gate, PolicyFiles
from ingot.app.database_retry import retry_while_unavailable
from ingot.app.machines import Base
from ingot.app.metrics import Metrics, RequestTimes
from ingot.app.options import offers, with_bodies
from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.audit.recorder import Audit
from ingot.kit.auth.policy import Policy
from ingot.kit.faults import Unavailable
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.http.websockets import Channel
from ingot.services.baremetal import CONSOLE_PATH, WebsocketConsoles
from ingot.services.baremetal.monitoring.power_sync import PowerSync
from ingot.services.module import BuiltService
from ingot.workflow.api import Timeline


class Listeners:
    """The web applications of one process, and how it feels.

    tokens: who callers of all APIs are but those of the Bare Metal API, for which it is `gate`. outside: whether
    an outside Keystone knows the callers. leaving: set when this process was told to stop; load balancers are told so.
    """

    def __init__(
        self,
        base: Base,
        services: Mapping[str, BuiltService],
        tokens: Gate,
        gate: Gate,
        policies: PolicyFiles,
        timeline: Timeline,
        consoles: WebsocketConsoles,
        audit: Audit,
        power_sync: PowerSync,
        outside: bool,
    ) -> None:
        self.leaving = False
        self._base = base
        self._services = services
        self._tokens = tokens
        self._gate = gate
        self._policies = policies
        self._timeline = timeline
        self._consoles = consoles
        self._audit = audit
        self._outside = outside
        self._proxies = Proxies(base.settings.trusted_proxies)
        self._times = RequestTimes()
        self._metrics = Metrics(
            self._times,
            lambda: power_sync.text() + audit.text(),
            base.settings.monitoring.metrics_from,
        )

    def api(self) -> WebApp:
        """All services that are offered, on one port under path prefixes."""
        # Whoever may see the machines of a cloud that has nothing else may see what happens to them.
        known = offers(self._base.settings, "identity") or self._outside
        gate = self._tokens if known else self._gate
        timeline = self._timeline.service(gate.authenticator)
        offered = [
            *(made for name, built in self._services.items() for made in self._apis(name, built)),
            dataclasses.replace(timeline, still=gate.still),
        ]
        offered = [
            dataclasses.replace(service, challenge=service.challenge or gate.challenge)
            for service in offered
        ]
        self._policies.lay_over(offered)
        channels = [Channel(CONSOLE_PATH, self._consoles.enter)]
        return WebApp(
            [*offered, self._house()],
            self._times.observe,
            channels,
            with_bodies(self._base.settings),
            self._audit.note,
            self._proxies,
        )

    def _apis(self, name: str, built: BuiltService) -> list[Service]:
        """The APIs of a service, where this cloud has it itself and offers it."""
        if not offers(self._base.settings, name) or (name == "identity" and self._outside):
            return []
        gate = self._gate if name == "baremetal" else self._tokens
        return list(built.api(gate.authenticator))

    def boot(self) -> WebApp:
        """What a booting machine may reach, and nothing else."""
        (api, *_) = self._services["baremetal"].api(self._gate.authenticator)
        operations = [one for built in self._services.values() for one in built.provisioning]
        alive = Operation("GET", "/healthz", self._alive, rule=None)
        service = Service(
            name="provisioning",
            prefix="",
            operations=[
                alive,
                *(retry_while_unavailable(operation, self._base.clock) for operation in operations),
            ],
            envelope=api.envelope,
            policy=Policy({}),
            versions=api.versions,
            status=api.status,
        )
        return WebApp(
            [service],
            self._times.observe,
            patience=with_bodies(self._base.settings),
            proxies=self._proxies,
        )

    def _house(self) -> Service:
        return Service(
            name="house",
            prefix="",
            operations=[
                Operation("GET", "/healthz", self._healthy, rule=None),
                Operation("GET", "/metrics", self._metrics.show, rule=None),
            ],
            envelope=plain_envelope,
            policy=Policy({}),
        )

    async def _healthy(self, call: Call) -> Reply:
        """200 when the database answers, there is room for changes, and this process is not about to go."""
        await space.require(self._base.db, self._base.settings.state_dir)
        return await self._alive(call)

    async def _alive(self, _call: Call) -> Reply:
        """200 when this process is not about to go: booting machines wait for a database that is away."""
        if self.leaving:
            raise Unavailable("This process is about to stop.", retry_after=1)
        return Reply({"status": "ok", "host": self._base.settings.hostname})
