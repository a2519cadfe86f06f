"""Whoever guesses waits, and nobody else does."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingot.kit.auth import throttle
from ingot.kit.auth.throttle import FREE_TRIES, HashingQueue, LoginAttempt, LoginThrottle
from ingot.kit.faults import Fault, Kind
from ingot.kit.tasks.clock import VirtualClock
from tests.identity.cloud import Cloud, running
from tests.identity.people import SECRET, Tenant, call

HERE, THERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    # The cost of a real cloud: guessing must take as much here as there.
    with running(tmp_path_factory.mktemp("cloud"), password_cost=15) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "brake")


def enter(cloud: Cloud, user: dict[str, Any], peer: str = HERE) -> tuple[int, float, str]:
    """Status, seconds, and Retry-After of a log-in that comes from an address."""
    began = time.monotonic()
    line = http.client.HTTPConnection(
        cloud.url.removeprefix("http://"), timeout=60, source_address=(peer, 0)
    )
    auth = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    headers = {"Content-Type": "application/json"}
    line.request("POST", "/identity/v3/auth/tokens", json.dumps(auth), headers)
    reply = line.getresponse()
    reply.read()
    line.close()
    return reply.status, time.monotonic() - began, reply.getheader("Retry-After") or ""


def test_wrong_log_ins_do_not_keep_others_waiting(cloud: Cloud, tenant: Tenant) -> None:
    victim, good = tenant.user("guessed"), tenant.user("good")
    right = {"id": good, "password": SECRET}
    alone = enter(cloud, right, THERE)[1]
    with ThreadPoolExecutor(41) as pool:
        wrong = [
            pool.submit(enter, cloud, {"id": victim, "password": f"guess {n}"}) for n in range(40)
        ]
        time.sleep(0.1)  # they are in line
        status, took, _ = enter(cloud, {"id": victim, "password": SECRET}, THERE)
        assert status == 201, "the owner comes in from elsewhere while somebody guesses"
        told = [one.result() for one in wrong]
    statuses = [status for status, _, _ in told]
    assert set(statuses) <= {401, 429} and 429 in statuses
    assert statuses.count(401) <= FREE_TRIES + 2, "no more were hashed than those in hand"
    assert all(retry for status, _, retry in told if status == 429)
    assert took < max(1.5, 8 * alone), f"{took:.2f} s beside {alone:.2f} s alone"


def test_a_good_user_is_known_again_beside_somebody_who_guesses(
    cloud: Cloud, tenant: Tenant
) -> None:
    """Same account, same address: the right password of a moment ago still opens, though not without end."""
    user_id = tenant.user("same-place")
    right = {"id": user_id, "password": SECRET}
    assert enter(cloud, right)[0] == 201
    for n in range(FREE_TRIES + 3):
        enter(cloud, {"id": user_id, "password": f"guess {n}"})
    assert enter(cloud, {"id": user_id, "password": "one more"})[0] == 429
    deadline = time.monotonic() + 10
    while enter(cloud, right)[0] != 201:
        assert time.monotonic() < deadline
    # And a new password ends the memory of the old one.
    body = {"user": {"password": "another"}}
    assert call(cloud, "PATCH", f"/users/{user_id}", tenant.admin, json=body).ok
    assert enter(cloud, right, THERE)[0] == 401
    assert enter(cloud, {"id": user_id, "password": "another"}, THERE)[0] == 201


def test_who_is_not_there_is_told_the_same(cloud: Cloud) -> None:
    nobody = {"name": "nobody", "domain": {"id": "default"}, "password": "x"}
    statuses = [enter(cloud, nobody)[0] for _ in range(FREE_TRIES + 2)]
    assert statuses[0] == 401 and statuses[-1] == 429


def test_the_old_password_is_not_guessed_by_changing_it(cloud: Cloud, tenant: Tenant) -> None:
    user_id = tenant.user("changed")
    statuses = [
        call(
            cloud, "POST", f"/users/{user_id}/password", "",
            json={"user": {"original_password": f"guess {n}", "password": "mine"}},
        ).status_code
        for n in range(FREE_TRIES + 2)
    ]  # fmt: skip
    assert statuses[0] == 401 and statuses[-1] == 429


def test_waits_grow_and_end() -> None:
    clock, who = VirtualClock(), LoginAttempt.of(HERE, "u1")
    made = LoginThrottle(clock)
    for _ in range(FREE_TRIES - 1):
        made.wrong(who)
    assert made.wait(who) == 0
    waits = []
    for _ in range(8):
        made.wrong(who)
        waits.append(made.wait(who))
    assert waits == [
        1,
        2,
        4,
        8,
        16,
        throttle.LONGEST_WAIT,
        throttle.LONGEST_WAIT,
        throttle.LONGEST_WAIT,
    ]
    assert made.wait(LoginAttempt.of(THERE, "u1")) == made.wait(LoginAttempt.of(HERE, "u2")) == 0
    clock.advance(throttle.LONGEST_WAIT)
    made.check(who)
    made.right(who, "pw", "hash")
    made.wrong(who)
    assert made.wait(who) == 0, "a right answer begins anew"
    assert LoginAttempt.of("2001:db8::1", "u") == LoginAttempt.of("2001:db8::ffff", "u")


def test_memory_is_bounded() -> None:
    made = LoginThrottle(VirtualClock())
    for n in range(20_000):
        made.wrong(LoginAttempt.of(HERE, str(n)))
        made.right(LoginAttempt.of(HERE, "x"), str(n), "hash")
    assert len(made._tries) <= 10_000 and len(made._known) <= 1_000  # type: ignore[attr-defined]


def test_a_long_name_takes_no_more_room() -> None:
    one, other = (
        LoginAttempt.of(HERE, "x" * 100_000),
        LoginAttempt.of(HERE, "x" * 99_999 + "\ud800"),
    )
    assert len(one.account) == len(other.account) == 64
    assert one != other
    assert LoginAttempt.of(HERE, "a-user").account == "a-user"


@pytest.mark.anyio
async def test_turns_go_round_and_are_never_lost() -> None:
    turns, order = HashingQueue(1, most=12, most_a_peer=8), list[str]()

    async def one(peer: str, account: str) -> None:
        async with turns.turn(LoginAttempt(peer, account)):
            order.append(peer + account)
            await asyncio.sleep(0)

    flood = [asyncio.create_task(one("a", "1")) for _ in range(6)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(one("a", "2")), asyncio.create_task(one("b", "1"))]
    await asyncio.sleep(0)
    flood[-1].cancel()
    await asyncio.gather(*flood, *others, return_exceptions=True)
    assert order.index("b1") <= 3 and order.index("a2") <= 4
    assert len(order) == 7
    # Full: who waits most gives way; who would be the one is refused.
    async with turns.turn(LoginAttempt("z", "z")):
        lines = [asyncio.create_task(one("a", "1")) for _ in range(8)]
        lines += [asyncio.create_task(one("b", "1")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Fault) as told:
            await one("a", "9")
        assert told.value.kind is Kind.TOO_MANY
        late = asyncio.create_task(one("c", "1"))
        await asyncio.sleep(0)
    done = await asyncio.gather(*lines, late, return_exceptions=True)
    assert sum(isinstance(item, Fault) for item in done) == 1
    assert done[-1] is None
    await asyncio.wait_for(one("d", "1"), 1)


def test_hosts_at_a_listener_for_both_versions_are_told_apart() -> None:
    """All of IPv4, as IPv6 writes it, is one /64."""
    one, other = (LoginAttempt.of(f"::ffff:192.0.2.{n}", "ann") for n in (1, 2))
    assert one != other and one == LoginAttempt.of("192.0.2.1", "ann")
    assert LoginAttempt.of("2001:db8::1", "ann") == LoginAttempt.of("2001:db8::2", "ann")
