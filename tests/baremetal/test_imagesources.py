"""Images at plain URLs and in files: what is taken, what is refused, and with which words."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import VirtualClock
from ingot.services.baremetal.boot.imagesources import ImageSources, check

pytestmark = pytest.mark.anyio

IMAGE = b"\0" * 70000
SHA256 = hashlib.sha256(IMAGE).hexdigest()
SHA512 = hashlib.sha512(IMAGE).hexdigest()


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A web server with an image and checksum files of every shape."""
    texts = {
        "alone": SHA256,
        "sums": f"# of today\n{'0' * 64}  other.raw\n{SHA256} *disk.raw\n",
        "bsd": f"SHA512 (disk.raw) = {SHA512}\n",
        "foreign": f"{SHA256}  other.raw\n",
    }
    app = web.Application()

    async def image(_request: web.Request) -> web.Response:
        return web.Response(body=IMAGE)

    async def sums(request: web.Request) -> web.Response:
        return web.Response(text=texts[request.match_info["name"]])

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(body=b"")

    app.router.add_get("/disk.raw", image)
    app.router.add_get("/empty.raw", nothing)
    app.router.add_get("/sums/{name:alone|sums|bsd|foreign}", sums)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def sources(tmp_path: Path) -> ImageSources:
    (tmp_path / "images").mkdir()
    return ImageSources(
        folders=[tmp_path / "images"],
        base_url="http://192.0.2.1:8080/",
        vault=Vault.at(tmp_path / "key"),
        clock=VirtualClock(),
        probe=True,
        most_bytes=1 << 20,
        egress=Egress.of(LOOPBACK),
    )


@pytest.mark.parametrize(
    ("info", "algo"),
    [
        ({"image_checksum": SHA256}, "sha256"),
        ({"image_checksum": SHA512.upper()}, "sha512"),
        ({"image_os_hash_algo": "sha512", "image_os_hash_value": SHA512}, "sha512"),
        ({"image_checksum": "{site}/sums/alone"}, "sha256"),
        ({"image_checksum": "{site}/sums/sums"}, "sha256"),
        ({"image_os_hash_algo": "sha512", "image_os_hash_value": "{site}/sums/bsd"}, "sha512"),
    ],
)
async def test_urls(site: str, sources: ImageSources, info: dict[str, str], algo: str) -> None:
    order = {name: value.replace("{site}", site) for name, value in info.items()}
    facts = await sources.facts(f"{site}/disk.raw?x=1", order, 60)
    assert facts.url == f"{site}/disk.raw?x=1" and facts.size == len(IMAGE)
    digest = {"sha256": SHA256, "sha512": SHA512}[algo]
    assert (facts.hash_algo, facts.hash_value, facts.disk_format) == (algo, digest, "raw")


@pytest.mark.parametrize(
    ("source", "info", "told"),
    [
        ("{site}/disk.raw", {}, "has no checksum"),
        ("{site}/disk.raw", {"image_checksum": "0" * 32}, "MD5 is not taken"),
        ("{site}/disk.raw", {"image_checksum": "xyz"}, "that is none"),
        (
            "{site}/disk.raw",
            {"image_os_hash_algo": "sha512", "image_os_hash_value": SHA256},
            "none",
        ),
        ("{site}/disk.raw", {"image_checksum": "{site}/sums/foreign"}, "does not name disk.raw"),
        ("{site}/disk.raw", {"image_checksum": "{site}/sums/none"}, "cannot be fetched: HTTP 404"),
        ("{site}/disk.raw", {"image_checksum": SHA256, "image_disk_format": "vmdk"}, "is vmdk"),
        ("{site}/none.raw", {"image_checksum": SHA256}, "none.raw cannot be fetched: HTTP 404"),
        ("http://127.0.0.1:1/x", {"image_checksum": SHA256}, "cannot be fetched"),
        ("oci://x/y", {"image_checksum": SHA256}, "images by oci:// cannot be deployed"),
    ],
)
async def test_refused_urls(
    site: str, sources: ImageSources, source: str, info: dict[str, str], told: str
) -> None:
    order = {name: value.replace("{site}", site) for name, value in info.items()}
    with pytest.raises(Fault) as wrong:
        await sources.facts(source.replace("{site}", site), order, 60)
    assert told in wrong.value.text + " " + wrong.value.next_action, wrong.value.sentence()
    assert wrong.value.next_action


async def test_too_large(site: str, sources: ImageSources) -> None:
    small = ImageSources(probe=True, most_bytes=1000, egress=Egress.of(LOOPBACK))
    with pytest.raises(Fault, match="70000 bytes, more than the 1000"):
        await small.facts(f"{site}/disk.raw", {"image_checksum": SHA256}, 60)


async def test_files(tmp_path: Path, sources: ImageSources) -> None:
    path = tmp_path / "images" / "disk one.raw"
    path.write_bytes(b"\0" * 510 + b"\x55\xaa" + IMAGE)
    facts = await sources.facts(f"file://{tmp_path}/images/disk%20one.raw", {}, 60)
    assert facts.disk_format == "raw" and facts.hash_algo == "sha512"
    assert facts.hash_value == hashlib.sha512(path.read_bytes()).hexdigest()
    assert facts.url.startswith("http://192.0.2.1:8080/image-files/") and "disk" not in facts.url
    path.write_bytes(path.read_bytes() + b"more")
    again = await sources.facts(f"file://{path}", {}, 60)
    assert again.hash_value == hashlib.sha512(path.read_bytes()).hexdigest()
    named = await sources.facts(f"file://{path}", {"image_checksum": SHA256}, 60)
    assert named.hash_value == SHA256


async def test_files_that_are_refused(tmp_path: Path, sources: ImageSources) -> None:
    inside = tmp_path / "images"
    (tmp_path / "secret").write_bytes(IMAGE)
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "empty").touch()
    (inside / "wrong.qcow2").write_bytes(IMAGE)
    os.mkfifo(inside / "pipe")
    not_inside = "not in a folder from which"
    asks: list[tuple[str, dict[str, Any], str]] = [
        (f"file://{tmp_path}/secret", {}, not_inside),
        (f"file://{inside}/../secret", {}, not_inside),
        (f"file://{inside}/%2e%2e/secret", {}, not_inside),
        (f"file://{inside}/link", {}, not_inside),
        ("file:///dev/zero", {}, not_inside),
        ("file:///etc/shadow", {}, not_inside),
        (f"file://{inside}/none", {}, "cannot be read: No such file"),
        (f"file://{inside}/pipe", {}, "no plain file"),
        (f"file://{inside}/", {}, "no plain file"),
        (f"file://{inside}/empty", {}, "is empty"),
        (f"file://host{inside}/x", {}, "no file:///path"),
        (f"file://{inside}/wrong.qcow2", {"image_disk_format": "qcow2"}, "its content is raw"),
    ]
    for source, info, told in asks:
        with pytest.raises(Fault) as wrong:
            await sources.facts(source, info, 60)
        assert told in wrong.value.text, (source, wrong.value.text)
    nowhere = ImageSources()
    with pytest.raises(Fault, match=not_inside):
        await nowhere.facts(f"file://{tmp_path}/secret", {}, 60)
    everywhere = ImageSources(folders=[Path("/")], base_url="http://x", vault=sources.vault)
    with pytest.raises(Fault, match=not_inside):
        await everywhere.facts("file:///dev/zero", {}, 60)


async def test_a_checksum_file_in_two_segments(site: str, sources: ImageSources) -> None:
    """What has arrived at first is not the file."""
    text = f"{'0' * 64}  other.raw\n" * 10 + f"{SHA256}  disk.raw\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n".encode())
        for part in text[:100], text[100:]:
            writer.write(part.encode())
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    order = {"image_checksum": f"http://127.0.0.1:{port}/sums"}
    facts = await sources.facts(f"{site}/disk.raw", order, 60)
    assert facts.hash_value == SHA256
    server.close()


async def test_a_checksum_file_without_an_end(site: str, sources: ImageSources) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    order = {"image_checksum": f"http://127.0.0.1:{port}/sums"}
    with pytest.raises(Fault, match="more than"):
        await sources.facts(f"{site}/disk.raw", order, 60)
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2 beadfeed\r\n",
        b"HTTP/1.1 200 OK\r\nbeadfeed\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: gopher://beadfeed/\r\n\r\n",
        b'HTTP/1.1 403 F\r\nContent-Length: 35\r\n\r\n{"error": {"message": "beadfeed..."}}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeadfeed\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n" + b"beadfeed" * 8 + b"\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\nbeadfeed beadfeed\nbeadfeed\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nMD5 (disk.raw) = beadf\n",
    ],
)
async def test_nothing_of_what_answers_at_a_url_is_told(
    site: str, sources: ImageSources, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    order = {"image_os_hash_value": f"http://127.0.0.1:{port}/s", "image_os_hash_algo": "sha512"}
    with pytest.raises(Fault) as caught:
        await sources.facts(f"{site}/disk.raw", order, 60)
    assert "beadf" not in caught.value.sentence()
    server.close()


async def test_images_and_checksums_inside_of_the_cloud(site: str, sources: ImageSources) -> None:
    """Whoever may order a deploy must not ask this host's own services by it, whatever they answer."""
    strict = replace(sources, egress=Egress())
    port = site.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "2130706433"):
        there = f"http://{host}:{port}/disk.raw"
        for order in (
            {"image_checksum": SHA256},
            {"image_checksum": f"http://{host}:{port}/sums/alone"},
        ):
            source = there if "sums" not in str(order) else "http://192.0.2.1/disk.raw"
            with pytest.raises(Fault) as caught:
                await strict.facts(source, order, 60)
            assert "HTTP" not in caught.value.text, "nor is its answer told"
    for source in ("http://169.254.169.254/latest", "http://[fe80::1]/x"):
        with pytest.raises(Fault, match="not asked for others"):
            check(source, {"image_checksum": SHA256}, Egress(), ())


async def test_a_password_in_a_url_is_told_nowhere(site: str, sources: ImageSources) -> None:
    secret = site.replace("http://", "http://user:hidden-word@")
    orders = [
        (f"{secret}/none.raw", {"image_checksum": SHA256}),
        (f"{site}/disk.raw", {"image_checksum": f"{secret}/sums/foreign"}),
        (f"{secret}/disk.raw", {"image_checksum": "x", "image_disk_format": "vmdk"}),
        (f"oci://user:hidden-word@x/{SHA256}", {"image_checksum": SHA256}),
        ("http://user:hidden-word@127.0.0.1:1/x", {"image_checksum": SHA256}),
    ]
    for source, order in orders:
        with pytest.raises(Fault) as caught:
            await sources.facts(source, order, 60)
        assert "hidden-word" not in caught.value.sentence()
    facts = await sources.facts(f"{secret}/disk.raw", {"image_checksum": SHA256}, 60)
    assert "hidden-word" in facts.url and "hidden-word" not in facts.id
