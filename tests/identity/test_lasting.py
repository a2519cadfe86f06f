"""Connections that last end with the right by which they were begun."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.identity.cloud import Cloud, running
from tests.identity.people import Tenant, call, role

#: Within so many seconds of what ended the right.
AT_MOST = 10.0
KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module", params=KINDS)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    database = ""
    if request.param == "postgres":
        database = request.getfixturevalue("postgres_server").create()
    with running(tmp_path_factory.mktemp("cloud"), database) as cloud:
        yield cloud


@contextlib.contextmanager
def stream(cloud: Cloud, who: str) -> Iterator[threading.Event]:
    """An open event stream; the event is set once the server has ended it."""
    ended = threading.Event()
    line = http.client.HTTPConnection(cloud.url.removeprefix("http://"), timeout=60)
    line.request("GET", "/timeline/v1/stream", headers={"X-Auth-Token": who})
    reply = line.getresponse()
    assert reply.status == 200

    def listen() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while reply.read1(64):
                pass
        ended.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield ended
    finally:
        with contextlib.suppress(OSError, AttributeError):
            line.sock.shutdown(socket.SHUT_RDWR)
        listener.join(10)
        line.close()


def revoke(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    headers = {"X-Subject-Token": who}
    assert call(cloud, "DELETE", "/auth/tokens", who, headers=headers).status_code == 204


def disable_user(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    body = {"user": {"enabled": False}}
    assert call(cloud, "PATCH", f"/users/{user_id}", tenant.admin, json=body).ok


def delete_user(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    assert call(cloud, "DELETE", f"/users/{user_id}", tenant.admin).ok


def change_password(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    body = {"user": {"password": "another"}}
    assert call(cloud, "PATCH", f"/users/{user_id}", tenant.admin, json=body).ok


def disable_project(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    body = {"project": {"enabled": False}}
    assert call(cloud, "PATCH", f"/projects/{tenant.project}", tenant.admin, json=body).ok


def delete_project(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    assert call(cloud, "DELETE", f"/projects/{tenant.project}", tenant.admin).ok


def disable_domain(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    body = {"domain": {"enabled": False}}
    assert call(cloud, "PATCH", f"/domains/{tenant.domain}", tenant.admin, json=body).ok


def take_role(cloud: Cloud, tenant: Tenant, user_id: str, who: str) -> None:
    path = tenant.give(user_id, "member", "projects")
    assert call(cloud, "DELETE", path, tenant.admin).status_code == 204


ENDS = [
    revoke, disable_user, delete_user, change_password, disable_project, delete_project,
    disable_domain, take_role,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_ends_with_its_right(
    cloud: Cloud, end: Callable[[Cloud, Tenant, str, str], None]
) -> None:
    tenant = Tenant(cloud, f"stream-{end.__name__}")
    user_id = tenant.user()
    tenant.give(user_id, "member", "projects")
    who = tenant.enter(user_id, "projects")
    with stream(cloud, who) as ended, stream(cloud, tenant.admin) as other:
        assert not ended.wait(0.2)
        end(cloud, tenant, user_id, who)
        began = time.monotonic()
        assert ended.wait(AT_MOST), f"still open {AT_MOST:.0f} s after {end.__name__}"
        assert time.monotonic() - began < AT_MOST
        assert not other.is_set(), "somebody else's stream goes on"


def test_a_stream_stays_while_its_right_does(cloud: Cloud) -> None:
    tenant = Tenant(cloud, "stream-stays")
    user_id = tenant.user()
    tenant.give(user_id, "member", "projects")
    second = tenant.give(user_id, "reader", "projects")
    with stream(cloud, tenant.enter(user_id, "projects")) as ended:
        assert call(cloud, "DELETE", second, tenant.admin).status_code == 204
        assert not ended.wait(AT_MOST / 2), "one of two roles was left"


def by_credential(cloud: Cloud, tenant: Tenant, user_id: str, **fields: str) -> tuple[str, str]:
    """An application credential's path below the user's, and a token by it."""
    path = f"/users/{user_id}/application_credentials"
    body = {"application_credential": {"name": "robot", **fields}}
    who = tenant.enter(user_id, "projects")
    made = call(cloud, "POST", path, who, json=body).json()["application_credential"]
    shown = {"id": made["id"], "secret": made["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": shown}
    reply = call(cloud, "POST", "/auth/tokens", "", json={"auth": {"identity": identity}})
    assert reply.status_code == 201, reply.text
    return f"{path}/{made['id']}", reply.headers["X-Subject-Token"]


def test_a_stream_ends_with_its_application_credential(cloud: Cloud) -> None:
    tenant = Tenant(cloud, "stream-credential")
    user_id = tenant.user()
    tenant.give(user_id, "member", "projects")
    path, robot = by_credential(cloud, tenant, user_id)
    own = tenant.enter(user_id, "projects")
    with stream(cloud, robot) as ended, stream(cloud, own) as other:
        assert call(cloud, "DELETE", path, own).status_code == 204
        assert ended.wait(AT_MOST)
        assert not other.is_set(), "the user's own goes on"


def test_a_stream_ends_with_the_time_of_its_token(cloud: Cloud) -> None:
    tenant = Tenant(cloud, "stream-time")
    user_id = tenant.user()
    tenant.give(user_id, "member", "projects")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    _, robot = by_credential(cloud, tenant, user_id, expires_at=end.isoformat())
    with stream(cloud, robot) as ended:
        left = (end - datetime.now(UTC)).total_seconds()
        assert ended.wait(left + AT_MOST) and datetime.now(UTC) >= end


def test_a_stream_ends_with_the_group_that_gave_its_role(cloud: Cloud) -> None:
    tenant = Tenant(cloud, "stream-group")
    user_id, group = tenant.user(), tenant.group("crew")
    member = f"/groups/{group}/users/{user_id}"
    grant = f"/projects/{tenant.project}/groups/{group}/roles/{role(cloud, 'member')}"
    for end in (member, grant):
        for path in (member, grant):
            assert call(cloud, "PUT", path, tenant.admin).status_code == 204
        with stream(cloud, tenant.enter(user_id, "projects")) as ended:
            assert call(cloud, "DELETE", end, tenant.admin).status_code == 204
            assert ended.wait(AT_MOST), end
