"""A client of one service in process: callers by their token's text, statements counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ingot.kit.audit.records import Entry
from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.db.database import Database
from tests.contracts.documents import Documents
from tests.house.asgi import ask

#: What the database's own pool says, and the ends of transactions.
_OWN = ("BEGIN", "COMMIT", "ROLLBACK", "SET ", "RESET ", "SELECT 1", "SELECT pg_")
_ROLES = ("admin", "manager", "member", "reader")


def _caller(user: str, project: str, role: str) -> Caller:
    at = _ROLES.index(role) if role else len(_ROLES)
    return Caller(user_id=user, project_id=project, roles=frozenset(_ROLES[at:]))


#: Two rival projects and those above them.
CALLERS: Mapping[str, Caller] = {
    "admin": _caller("u-admin", "p-admin", "admin"),
    "manager": _caller("u-manager", "p-one", "manager"),
    "member": _caller("u-member", "p-one", "member"),
    "reader": _caller("u-reader", "p-one", "reader"),
    "norole": _caller("u-norole", "p-one", ""),
    "rival": _caller("u-rival", "p-two", "member"),
    "rival-reader": _caller("u-rival-reader", "p-two", "reader"),
}


async def authenticate(header: Callable[[str], str | None]) -> Caller:
    return CALLERS.get(header("X-Auth-Token") or "", ANONYMOUS)


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    text: str


@dataclass
class Client:
    """Calls of one service; every answer is judged by the service's document. audit: what was noted of them. version: the value of OpenStack-API-Version. who: asks where a call does not say."""

    app: Any
    db: Database
    prefix: str
    documents: Documents
    version: str = ""
    audit: list[Entry] = field(default_factory=list[Entry])
    who: str = "member"

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "",
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        sent = {"X-Auth-Token": who or self.who, **(headers or {})}
        if wanted := self.version if version is None else version:
            sent["OpenStack-API-Version"] = wanted
        data = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
        status, text = await ask(self.app, method, self.prefix + path, sent, data)
        try:
            found = msgspec.json.decode(text) if text else None
        except msgspec.DecodeError:
            found = None
        at = sent.get("OpenStack-API-Version", "").rpartition(" ")[2]
        self.documents.judge(method, self.prefix + path, at, status, found)
        return Answer(status, found, text.decode(errors="replace"))

    async def statements(self, method: str, path: str, body: Any = None) -> tuple[Answer, int]:
        """An answer, and how many SQL statements it took."""
        seen: list[str] = []
        stop = self.db.on_statement(seen.append)
        try:
            answer = await self(method, path, body)
        finally:
            stop()
        return answer, sum(1 for text in seen if not text.startswith(_OWN))
