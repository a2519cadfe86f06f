"""Ingot as nothing but a Bare Metal service: without Keystone, without other services, for stock clients."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from ingot.kit.auth.throttle import FREE_TRIES, KNOWN_EVERY
from tests.site.server import IMAGE, Answer, run, site

pytestmark = pytest.mark.anyio

ALONE: dict[str, Any] = {"": {"rooms": ["baremetal"]}}


def basic(name: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def htpasswd(file: Path, **users: str) -> str:
    lines = [
        f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}"
        for name, password in users.items()
    ]
    file.write_text("\n".join(lines) + "\n")
    return str(file)


async def test_who_guesses_waits_and_nobody_else(tmp_path: Path) -> None:
    users = htpasswd(tmp_path / "htpasswd", metal="one", other="two")
    mode = {"auth_strategy": "http_basic", "http_basic_auth_user_file": users}

    async with site(tmp_path, **ALONE, baremetal=mode) as here:

        async def ask(status: int, name: str, password: str) -> Answer:
            shown = basic(name, password)["Authorization"]
            return await here.ask(
                "", "GET", "/v1/nodes", who="", status=status, Authorization=shown
            )

        await ask(200, "metal", "one")
        for number in range(FREE_TRIES):
            await ask(401, "metal", f"guess {number}")
        stopped = await ask(429, "metal", "guess")
        assert int(stopped.headers["Retry-After"]) >= 1
        assert stopped.envelope == "ironic, encoded twice" and "Too many log-ins" in stopped.text
        # It was right before, so it is known again beside who guesses; by that way, too, nobody tries often.
        await asyncio.sleep(KNOWN_EVERY)
        await ask(200, "metal", "one")
        await ask(200, "other", "two")
        # Names that are not there wait like the others: nobody learns so who there is.
        for number in range(FREE_TRIES):
            await ask(401, "nobody", f"guess {number}")
        await ask(429, "nobody", "guess")
        # A hundred at once cost the processor no hundred hashes.
        guesses = [basic("third", f"guess {number}")["Authorization"] for number in range(100)]
        told = await asyncio.gather(
            *(here.ask("", "GET", "/v1/nodes", who="", Authorization=one) for one in guesses)
        )
        statuses = [answer.status for answer in told]
        assert statuses.count(401) <= FREE_TRIES + 2 and set(statuses) <= {401, 429}
        await ask(200, "other", "two")


async def test_http_basic(tmp_path: Path) -> None:
    users = htpasswd(tmp_path / "htpasswd", metal="one", other="two")
    mode = {"auth_strategy": "http_basic", "http_basic_auth_user_file": users}
    async with site(tmp_path, **ALONE, baremetal=mode) as here:
        for path in ("/", "/v1", "/baremetal", "/baremetal/v1"):
            await here.ask("", "GET", path, who="", status=200)
        for headers, status in (
            ({}, 401),
            (basic("metal", "two"), 401),
            (basic("nobody", "one"), 401),
            ({"Authorization": "Bearer x"}, 400),
            ({"Authorization": "Basic ***"}, 400),
            ({"X-Auth-Token": "x"}, 401),
            (basic("metal", "one"), 200),
            (basic("other", "two"), 200),
        ):
            for path in ("/v1/nodes", "/baremetal/v1/nodes"):
                answer = await here.ask("", "GET", path, who="", status=status, **headers)
                assert status == 200 or answer.envelope == "ironic, encoded twice"
            if status == 401:
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="Baremetal API"'
        assert (await here.ask("/timeline", "GET", "/v1/events", who="")).status == 401
        await here.ask(
            "/timeline", "GET", "/v1/events", who="", status=200, **basic("metal", "one")
        )
        for path in ("/identity/v3", "/image/v2/images", "/compute/v2.1/servers"):
            await here.ask("", "GET", path, who="", status=404, **basic("metal", "one"))
        assert not (here.state / "clouds.yaml").exists()

        # A changed file counts at once.
        htpasswd(tmp_path / "htpasswd", metal="three")
        os.utime(tmp_path / "htpasswd", ns=(1, 1))
        await here.ask("", "GET", "/v1/nodes", who="", status=401, **basic("metal", "one"))
        await here.ask("", "GET", "/v1/nodes", who="", status=200, **basic("metal", "three"))

        env = {
            "OS_AUTH_TYPE": "http_basic",
            "OS_USERNAME": "metal",
            "OS_PASSWORD": "three",
            "OS_ENDPOINT": here.url,
        }
        words = ("baremetal", "node", "create", "--driver", "fake-hardware", "--name", "n1")
        assert (await here.client(*words, **env))[0] == 0
        code, said = await here.client("baremetal", "node", "list", **env)
        assert code == 0 and "n1" in said and "enroll" in said


async def test_noauth(tmp_path: Path) -> None:
    async with site(tmp_path, **ALONE, baremetal={"auth_strategy": "noauth"}) as here:
        env = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": here.url}
        words = ("baremetal", "node", "create", "--driver", "fake-hardware", "--name", "n1")
        more = ("--driver-info", "fake_password=hidden", "--conductor-group", "")
        code, said = await here.client(*words, *more, **env)
        assert code == 0, said
        node = (await here.ask("", "GET", "/v1/nodes/n1", who="", status=200)).body
        # Every right, but what the policy shows to nobody stays hidden.
        assert node["driver_info"] == {"fake_password": "******"}
        assert node["links"][0]["href"].startswith(f"{here.url}/v1/nodes/")
        for path in ("/v1/lookup?addresses=02:00:00:00:00:01", "/v1/heartbeat/n1"):
            await here.ask("", "GET", path, who="", status=404)


async def test_ramdisk_endpoints_where_they_are_wanted(tmp_path: Path) -> None:
    mode = {"auth_strategy": "noauth", "public_ramdisk_api": True}
    async with site(tmp_path, **ALONE, baremetal=mode) as here:
        answer = await here.ask("", "GET", "/v1/lookup?addresses=02:00:00:00:00:01", who="")
        assert answer.status == 404 and "did not find a node" in answer.text
        body = {"callback_url": "https://192.0.2.9:9999"}
        answer = await here.ask("", "POST", "/v1/heartbeat/n1", body, who="")
        assert answer.status == 400 and "token" in answer.text
        answer = await here.ask("/baremetal", "POST", "/v1/continue_inspection", {}, who="")
        assert answer.status == 400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('rooms = ["baremetal", "dns"]\n', "line 1: rooms: dns; services are identity"),
        ("rooms = []\n", "line 1: rooms: empty"),
        ('rooms = ["baremetal"]\n', "auth_strategy: without the identity service it is http_basic"),
        ('rooms = ["baremetal", "image"]\n', "line 1: rooms: image need identity"),
        ('[baremetal]\nauth_strategy = "basic"\n', "line 2: baremetal.auth_strategy: 'basic' is"),
        ('[baremetal]\nauth_strategy = "http_basic"\n', "http_basic_auth_user_file: http_basic"),
        ('[identity]\nmode = "keystone"\n', "auth_url: mode"),
        ('[services.identity]\nmode = "external"\n', "auth_url: mode"),
        ('[services.image]\nmode = "external"\n', "line 2: services.image.mode: Invalid enum"),
        ('[services.dns]\nmode = "own"\n', "services.dns: there is no such option"),
        ('[baremetal]\nfile_images = ["images"]\n', "entry 1, 'images', is no absolute path"),
        ('[policy]\nbaremetal = "/nowhere/policy.yaml"\n', "/nowhere/policy.yaml cannot be read"),
    ],
)
async def test_settings_that_do_not_fit(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "ingot.toml"
    file.write_text(text)
    code, _, err = await run("serve", "--config", str(file), cwd=tmp_path)
    assert code == 2 and told in err and len(err.strip().splitlines()) == 1, err


async def test_a_user_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text("a:$apr1$xxxxxxxx$yyyyyyyyyyyyyyyyyyyyyy\n")
    (tmp_path / "ingot.toml").write_text(
        'rooms = ["baremetal"]\n[baremetal]\nauth_strategy = "http_basic"\n'
        'http_basic_auth_user_file = "htpasswd"\n'
    )
    code, _, err = await run("serve", "--config", "ingot.toml", cwd=tmp_path)
    assert code == 2 and "htpasswd, line 1: only bcrypt" in err and "htpasswd -nB" in err, err


async def test_policy_command(tmp_path: Path) -> None:
    rules = tmp_path / "metal.yaml"
    rules.write_text("baremetal:node:get: role:reader\n")
    (tmp_path / "ingot.toml").write_text(f'[policy]\nbaremetal = "{rules}"\n')
    code, out, err = await run("policy", "check", "--config", "ingot.toml", cwd=tmp_path)
    assert code == 0 and "1 rules over" in out, err
    words = ("policy", "list", "baremetal", "--config", "ingot.toml")
    code, out, err = await run(*words, cwd=tmp_path)
    assert '"baremetal:node:get": "role:reader"  # from your file' in out, err
    assert '"baremetal:chassis:get": ' in out
    rules.write_text("\nbaremetal:nodes:get: role:reader\n")
    words = ("policy", "check", "baremetal", "--file", str(rules))
    code, out, err = await run(*words, cwd=tmp_path)
    assert code == 1 and "line 2: there is no rule 'baremetal:nodes:get'. Did you mean" in err
    code, _, err = await run("policy", "check", "--file", str(rules), cwd=tmp_path)
    assert code == 2 and "--file needs the name of its service" in err


async def test_a_policy_file_counts_and_is_read_again(tmp_path: Path) -> None:
    rules = tmp_path / "metal.yaml"
    rules.write_text("baremetal:node:list_all: role:member\n")
    async with site(tmp_path, policy={"baremetal": str(rules)}) as here:
        await here.ask("baremetal", "POST", "/v1/nodes", {"driver": "fake-hardware", "owner": None})
        seen = await here.ask("baremetal", "GET", "/v1/nodes", who="demo", status=200)
        assert len(seen.body["nodes"]) == 1
        rules.write_text("baremetal:node:list_all: '!'\n")
        async with asyncio.timeout(20):
            while (await here.ask("baremetal", "GET", "/v1/nodes", who="demo")).body["nodes"]:
                await asyncio.sleep(0.1)
        rules.write_text("baremetal:node:list_al: '!'\n")
        async with asyncio.timeout(20):
            while "policy file refused" not in here.log():
                await asyncio.sleep(0.1)
        seen = await here.ask("baremetal", "GET", "/v1/nodes", who="demo", status=200)
        assert seen.body["nodes"] == []


async def test_deploy_without_any_other_service(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "disk.raw").write_bytes(IMAGE)
    mode = {"auth_strategy": "noauth", "file_images": [str(images)]}
    async with site(tmp_path, 1, **ALONE, baremetal=mode) as here:
        assert here.fleet is not None
        here.tokens = {"admin": "any"}
        uuid = await here.provide(next(iter(here.fleet.machines)))
        await here.ask("baremetal", "POST", f"/v1/nodes/{uuid}/vifs", {"id": "a-name"}, status=204)

        async def order(**info: str) -> None:
            patch = [{"op": "replace", "path": "/instance_info", "value": info}]
            await here.ask("baremetal", "PATCH", f"/v1/nodes/{uuid}", patch, status=200)

        url = f"http://127.0.0.1:{here.boot}/files/none"
        await order(image_source=url)
        answer = await here.verb(uuid, "active", 400)
        assert "image_checksum, or" in answer.text
        for source, told in (
            ("file:///etc/passwd", "not in a folder from which images may be taken"),
            (url, "cannot be fetched: HTTP 40"),
            ("11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555555"),
        ):
            await order(image_source=source, image_checksum="0" * 64)
            await here.verb(uuid, "active")
            node = await here.node_in(uuid, "deploy failed")
            assert told in node["last_error"], node["last_error"]
        await order(image_source=f"file://{images}/disk.raw")
        await here.verb(uuid, "active")
        await here.node_in(uuid, "active")
        vifs = await here.ask("baremetal", "GET", f"/v1/nodes/{uuid}/vifs", status=200)
        assert vifs.body["vifs"] == [{"id": "a-name"}]
        await here.verb(uuid, "deleted")
        await here.node_in(uuid, "available")
        # The boot listener opens only what was sealed.
        async with here.http.get(f"http://127.0.0.1:{here.boot}/image-files/gAAAAABx") as reply:
            assert reply.status == 404
