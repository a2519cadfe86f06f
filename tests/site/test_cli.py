"""The command line as operators and tenants use it: whose lines, which of namesakes, when it ends, what it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.site.server import Site, run, site

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    baremetal = {"hardware_types": ["fake-hardware"], "power_sync_seconds": 3600}
    async with site(tmp_path_factory.mktemp("cli"), baremetal=baremetal) as made:
        body = {"driver": "fake-hardware", "name": "f1"}
        await made.ask("baremetal", "POST", "/v1/nodes", body, status=201)
        yield made


async def ingot(here: Site, *words: str, cloud: str = "ingot-system") -> tuple[int, str, str]:
    clouds = str(here.state / "clouds.yaml")
    return await run(*words, "--os-cloud", cloud, "--clouds", clouds, cwd=here.folder, wait=60)


async def make_server(here: Site, name: str, who: str) -> str:
    """A server that finds no machine: it has events all the same."""
    if not here.image:
        here.image = await here.make_image("cirros")
        await here.upload(here.image, b"\0" * 4096)
        here.network = await here.make_network("n", "192.0.2.0/24", "192.0.2.9", "192.0.2.99")
        here.tokens["flavor"] = await here.make_flavor("huge", resources__CUSTOM_NONE="1")
    body = here.order(here.tokens["flavor"], name=name)
    made = await here.ask("compute", "POST", "/servers", body, who=who, status=202)
    return made.body["server"]["id"]


async def test_events_and_watch_of_a_tenant(here: Site) -> None:
    await make_server(here, "it(s+a)+", "demo")
    code, out, err = await ingot(here, "watch", "it(s+a)+", "--until-idle", cloud="ingot-demo")
    assert "there is no node" not in err and code in (0, 1), (code, out, err)
    code, out, err = await ingot(here, "events", "it(s+a)+", cloud="ingot-demo")
    assert (code, err) == (0, "") and "it(s+a)+" in out, (out, err)
    code, _, err = await ingot(here, "events", "its", cloud="ingot-demo")
    assert code == 1 and "no server 'its'" in err
    code, _, err = await ingot(here, "events", "f1", cloud="ingot-demo")
    assert code == 1 and "'f1' that you may see" in err


async def test_namesakes_are_told(here: Site) -> None:
    ids = [await make_server(here, "twin", "demo") for _ in range(2)]
    code, _, err = await ingot(here, "events", "twin", cloud="ingot-demo")
    assert code == 1 and all(ident in err for ident in ids), err
    code, out, _ = await ingot(here, "events", ids[0], cloud="ingot-demo")
    assert code == 0 and out


async def test_until_idle_ends_at_once_where_nothing_is_under_way(here: Site) -> None:
    code, _, err = await ingot(here, "watch", "f1", "--until-idle")
    assert (code, err) == (0, "")


async def test_events_have_a_day_and_filters(here: Site) -> None:
    code, out, _ = await ingot(here, "events")
    assert code == 0 and "Ingot started." in out
    assert all(line[:4].isdigit() and line[4] == "-" for line in out.splitlines() if line[0] != " ")
    code, out, _ = await ingot(here, "events", "--until", "2001-01-01")
    assert (code, out) == (0, "")
    code, out, _ = await ingot(here, "events", "-f", "json", "--since", "1d", "--limit", "2")
    assert len(out.splitlines()) == 2 and all(json.loads(line)["at"] for line in out.splitlines())
    code, same, _ = await ingot(here, "events", "--json", "--since", "1d", "--limit", "2")
    assert same == out
    code, out, _ = await ingot(here, "events", "-f", "json", "--severity", "error")
    assert {json.loads(line)["severity"] for line in out.splitlines()} <= {"error"}


@pytest.mark.parametrize("command", ["events", "audit", "operations"])
async def test_limits_that_mean_nothing(here: Site, command: str) -> None:
    for limit in ("0", "-1", "many"):
        code, out, err = await ingot(here, command, "--limit", limit)
        assert (code, out) == (2, "") and "--limit" in err, err
    code, _, err = await ingot(here, "events", "--since", "yesterday")
    assert code == 2 and "neither a time" in err


async def test_times_beyond_the_calendar(here: Site) -> None:
    for time in ("99999999999d", "9" * 5000 + "s", "9999-12-31T23:59-12:00", "0001-01-01T00:00+14"):
        for command in ("events", "audit"):
            code, out, err = await ingot(here, command, "--since", time)
            assert (code, out) == (2, "") and "neither a time" in err, err
            assert "Traceback" not in err


async def test_audit_and_operations(here: Site) -> None:
    ident = await make_server(here, "seen", "demo")
    code, out, _ = await ingot(here, "audit", "--target", ident)
    for _ in range(20):
        if ident in out:
            break
        code, out, _ = await ingot(here, "audit", "--target", ident)
    assert code == 0 and "demo" in out and "create" in out and "127.0.0.1" in out
    code, out, _ = await ingot(here, "audit", "--target", ident, "-f", "json")
    assert json.loads(out)["initiator"]["name"] == "demo"
    code, out, _ = await ingot(here, "operations", ident)
    assert code == 0 and "server seen" in out and "demo" in out, out
    code, out, _ = await ingot(here, "operations", cloud="ingot-demo")
    assert code == 0 and "server seen" in out


async def test_control_characters_are_shown_and_not_sent(here: Site) -> None:
    ident = await make_server(here, "clear", "demo")
    body = {"server": {"name": "a\x1b[31mred\x07"}}
    await here.ask("compute", "PUT", f"/servers/{ident}", body, who="demo")
    bad = {"driver": "fake-hardware", "description": "\x1b]0;owned\x07", "name": "esc"}
    await here.ask("baremetal", "POST", "/v1/nodes", bad)
    for command in ("events", "operations", "audit"):
        _, out, err = await ingot(here, command)
        assert "\x1b" not in out + err and "\x07" not in out + err


async def test_a_model_that_is_not_there(here: Site) -> None:
    code, out, err = await ingot(here, "deadlines", "--model", "nosuch")
    assert (code, out) == (1, "") and "there is no model 'nosuch'" in err


async def test_the_doctor_has_one_form_with_the_others(here: Site) -> None:
    found = [await run("doctor", *form, cwd=here.folder) for form in (("-f", "json"), ("--json",))]
    for code, out, _ in found:
        told = json.loads(out)
        assert code in (0, 1) and told["findings"], out
    code, out, _ = await ingot(here, "deadlines", "-f", "json")
    assert code == 0 and isinstance(json.loads(out), list)


async def test_a_check_makes_no_database(tmp_path: Path) -> None:
    code, _, err = await run("db", "check", "--state", "typo", cwd=tmp_path)
    assert code == 1 and "There is no database" in err and "--state" in err
    assert not (tmp_path / "typo").exists()


async def test_a_restart_is_marked(here: Site) -> None:
    await here.stop()
    await here.start(here.folder / "ingot.toml")
    code, out, _ = await ingot(here, "events", f"host:{_host(here)}")
    assert code == 0 and out.count("Ingot started.") == 2 and out.count("Ingot stops.") == 1, out


def _host(here: Site) -> str:
    import socket

    return socket.gethostname()


async def test_a_machines_history_names_who_ordered_the_server(here: Site) -> None:
    body = {"driver": "fake-hardware", "name": "f2", "resource_class": "kept"}
    body["properties"] = {"cpus": 4, "memory_mb": 8192, "local_gb": 100}
    made = await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
    uuid = made.body["uuid"]
    port = {"node_uuid": uuid, "address": "52:54:00:00:00:02"}
    await here.ask("baremetal", "POST", "/v1/ports", port, status=201)
    for target, state in (("manage", "manageable"), ("provide", "available")):
        await here.verb(uuid, target)
        await here.node_in(uuid, state)
    await make_server(here, "first of all", "demo")
    flavor = await here.make_flavor("kept", resources__CUSTOM_KEPT="1")
    order = here.order(flavor, name="whose")
    ordered = await here.ask("compute", "POST", "/servers", order, who="demo", status=202)
    ident = ordered.body["server"]["id"]
    # Who waits for a server by `watch` sees its last lines too, and the machine's before them.
    code, out, err = await ingot(here, "watch", ident, "--until-idle", "--since", "1", "-f", "json")
    seen = [json.loads(line) for line in out.splitlines()]
    ends = [one["subject"] for one in seen if one["kind"] == "operation.done"]
    assert (code, err) == (0, "") and ends[-1] == f"server:{ident}", (code, err, out)
    assert f"node:{uuid}" in ends, ends
    await here.server_is(ident, "ACTIVE", deadline=60)
    told = await here.ask("baremetal", "GET", f"/v1/nodes/{uuid}/history?detail=true", status=200)
    users = await here.ask("identity", "GET", "/v3/users?name=demo", status=200)
    demo = users.body["users"][0]["id"]
    assert demo in {entry["user"] for entry in told.body["history"]}, told.body
    _, out, _ = await ingot(here, "operations", "f2")
    assert "demo" in out, out
