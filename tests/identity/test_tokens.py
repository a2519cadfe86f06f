"""Tokens: what is in them, what ends them, what they cost."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingot.kit.db.database import Database
from ingot.kit.faults import Unauthenticated
from ingot.kit.http.decoding import decode_body
from ingot.kit.tasks.clock import VirtualClock
from ingot.services.identity import Identity, IdentitySettings, forget_revocations
from ingot.services.identity.login import log_in
from ingot.services.identity.passwords import Passwords
from ingot.services.identity.schemas import AuthRequest
from ingot.services.identity.tokens import Payload, TokenKeys, payload

pytestmark = pytest.mark.anyio


def sealed(keys: TokenKeys, clock: VirtualClock, **changes: object) -> tuple[Payload, str]:
    now = clock.now()
    facts: dict[str, object] = {
        "methods": ("password", "token"),
        "user_id": "0" * 32,
        "kind": "project",
        "scope_id": "f" * 32,
        "issued_at": now,
        "expires_at": now + timedelta(hours=4),
        "generations": (3, 500),
        "app_cred_id": "a" * 32,
        **changes,
    }
    content = payload(**facts)  # type: ignore[arg-type]
    return content, keys.seal(content)


async def test_payload_survives_and_is_short(tmp_path: Path) -> None:
    keys, clock = TokenKeys(tmp_path / "keys"), VirtualClock()
    parent, _ = sealed(keys, clock)
    content, token = sealed(keys, clock, parent=parent)
    assert len(token) < 255
    found = keys.open(token)
    assert found == content
    assert found.user_id == "0" * 32
    assert found.app_cred_id == "a" * 32
    assert found.audit_ids[1] == parent.audit_ids[0]


@pytest.mark.parametrize("name", ["default", "x", "fifteen-letters", "sixteen--letters", "é" * 8])
async def test_ids_that_are_no_hex(tmp_path: Path, name: str) -> None:
    if len(name.encode()) == 16 and name.isascii():
        name = name[:14]  # 16 octets with the mark are told apart by a second mark
    keys, clock = TokenKeys(tmp_path / "keys"), VirtualClock()
    _, token = sealed(keys, clock, scope_id=name)
    found = keys.open(token)
    assert found is not None
    assert found.scope_id == name


async def test_rotation_keeps_old_tokens_for_a_while(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", VirtualClock()
    keys = TokenKeys(path)
    other_process = TokenKeys(path)
    _, token = sealed(keys, clock)
    keys.rotate()
    _, new = sealed(keys, clock)
    assert keys.open(token) is not None
    assert other_process.open(new) is not None, "a rotated key file is read again"
    keys.rotate()
    keys.rotate()
    assert keys.open(token) is None
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "é", "A" * 10_000, "gAAAAA" + "B" * 200])
async def test_garbage_is_no_token(tmp_path: Path, text: str) -> None:
    assert TokenKeys(tmp_path / "keys").open(text) is None


async def test_passwords() -> None:
    passwords = Passwords(10, VirtualClock())
    known = await passwords.hash("correct horse")
    assert await passwords.verify("correct horse", known)
    assert not await passwords.verify("correct hors", known)
    assert not await passwords.verify("correct horse", None)
    assert not await passwords.verify("correct horse", "$2b$12$abcdef")
    assert known != await passwords.hash("correct horse")


# -- against the database ------------------------------------------------------------------------


class House:
    """An identity service in virtual time."""

    def __init__(self, identity: Identity, clock: VirtualClock, password: str) -> None:
        self.identity, self.clock, self.password = identity, clock, password

    async def token(self, user: str = "admin", project: str = "admin") -> str:
        body = (
            f'{{"auth": {{"identity": {{"methods": ["password"], "password": {{"user": '
            f'{{"name": "{user}", "domain": {{"id": "default"}}, "password": "{self.password}"}}}}}}, '
            f'"scope": {{"project": {{"name": "{project}", "domain": {{"id": "default"}}}}}}}}}}'
        )
        request: AuthRequest = decode_body(body.encode(), AuthRequest, 25)
        token, _grant = await log_in(self.identity, request.auth)
        return token


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    db, clock = Database.at(tmp_path / "test.db"), VirtualClock()
    identity = Identity(db, clock, IdentitySettings(state_dir=tmp_path, password_cost=10))
    await db.create_all()
    await identity.bootstrap("admin-pw")
    yield House(identity, clock, "admin-pw")
    await identity.close()
    await db.close()


async def test_bootstrap_is_idempotent(house: House) -> None:
    again = await house.identity.bootstrap()
    assert again.admin_password is None
    assert again.demo_password is None
    same = await house.identity.bootstrap("admin-pw")
    assert same.admin_password is None, "the password was that already"
    renewed = await house.identity.bootstrap(renew=True)
    assert renewed.admin_password
    with pytest.raises(Unauthenticated):
        await house.token()
    house.password = renewed.admin_password
    assert await house.token()


async def test_roles_are_expanded(house: House) -> None:
    caller = await house.identity.caller_for(await house.token())
    assert caller.roles == {"admin", "manager", "member", "reader"}
    assert caller.project_name == "admin"


async def test_a_token_ends_with_its_time(house: House) -> None:
    token = await house.token()
    house.clock.advance(4 * 3600 - 1)
    assert await house.identity.caller_for(token)
    house.clock.advance(2)
    with pytest.raises(Unauthenticated):
        await house.identity.caller_for(token)
    assert await house.identity.grant(token, allow_expired=True) is not None


async def test_a_fresh_token_of_the_same_instant_lives_after_a_password_change(
    house: House,
) -> None:
    old = await house.token()
    await house.identity.bootstrap("other-pw")
    with pytest.raises(Unauthenticated):
        await house.identity.caller_for(old)
    house.password = "other-pw"
    assert await house.identity.caller_for(await house.token())


async def test_a_cached_token_costs_little(house: House) -> None:
    """Not a measure, a bound: ten thousand look-ups in a second would still be slow."""
    import time

    token = await house.token()
    await house.identity.caller_for(token)
    started = time.perf_counter()
    for _ in range(1000):
        await house.identity.caller_for(token)
    assert time.perf_counter() - started < 1.0


async def test_revocations_are_forgotten_in_time(house: House) -> None:
    from ingot.kit.db.database import timestamp
    from ingot.services.identity import store

    token = await house.token()
    grant = await house.identity.grant(token)
    assert grant is not None
    ends = timestamp(grant.expires_at)
    await house.identity.write(lambda conn: store.revoke(conn, grant.audit_ids[0], ends))
    assert await house.identity.grant(token) is None
    assert await forget_revocations(house.identity) == 0
    house.clock.advance(5 * 3600)
    assert await forget_revocations(house.identity) == 0, (
        "a late token may still come with a service's"
    )
    house.clock.advance(48 * 3600)
    assert await forget_revocations(house.identity) == 1
