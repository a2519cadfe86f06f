"""Events that a simulated Redfish service sends to its subscribers, one after the other, each tried three times."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp

from ingot.lab.sim.board import Board
from ingot.lab.sim.types import PowerState

TRIES = 3
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 10.0
SYSTEM = "/redfish/v1/Systems/1"


def power_event(power: PowerState) -> dict[str, Any]:
    """As the registry ResourceEvent has it."""
    on = power is PowerState.ON
    word = "On" if on else "Off"
    return {
        "EventType": "StatusChange",
        "MessageId": f"ResourceEvent.1.3.ResourcePowered{word}",
        "Message": f"The resource `{SYSTEM}` has powered {word.lower()}.",
        "MessageArgs": [SYSTEM],
        "Severity": "OK",
        "MessageSeverity": "OK",
        "OriginOfCondition": {"@odata.id": SYSTEM},
    }


def alert(text: str, severity: str) -> dict[str, Any]:
    return {
        "EventType": "Alert",
        "MessageId": "Alert.1.0.Alert",
        "Message": text,
        "Severity": severity,
        "MessageSeverity": severity,
        "OriginOfCondition": {"@odata.id": SYSTEM},
    }


class EventSender:
    """Delivers what the board emits to the board's subscriptions."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._http: aiohttp.ClientSession | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._count = 0
        self.delivered = 0
        board.emit = self.send

    def send(self, event: dict[str, Any]) -> None:
        if self._board.faults.take("events_lost"):
            return
        self._count += 1
        for told in list(self._board.subscriptions.values()):
            body = {
                "@odata.type": "#Event.v1_7_0.Event",
                "Id": str(self._count),
                "Name": "Event",
                "Context": told.get("Context", ""),
                "Events": [{"MemberId": "0", "EventId": str(self._count), **event}],
            }
            job = asyncio.get_running_loop().create_task(
                self._deliver(str(told["Destination"]), json.dumps(body).encode())
            )
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)

    async def close(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _deliver(self, url: str, body: bytes) -> None:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        for _ in range(TRIES):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                headers = {"Content-Type": "application/json"}
                async with self._http.post(url, data=body, headers=headers, ssl=False) as answer:
                    if answer.status < 300:
                        self.delivered += 1
                        return
            await asyncio.sleep(RETRY_SECONDS)
