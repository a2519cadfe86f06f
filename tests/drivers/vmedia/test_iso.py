"""Boot media read back by tools that we did not write: mtools, and pycdlib's own reader."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pycdlib
import pytest
from pycdlib.pycdlibexception import PyCdlibException

from ingot.drivers.machine.ipxe.scripts import BadParameter, kernel_words
from ingot.drivers.machine.vmedia import iso
from ingot.drivers.machine.vmedia.fat import fat_image
from ingot.drivers.machine.vmedia.store import MediaStore, Source
from ingot.kit.faults import Failed, Fault, Invalid

LOADERS = iso.BootLoaders({"BOOTX64.EFI": b"MZ" + bytes(70_000)}, bytes(4096))


@pytest.fixture
def made(tmp_path: Path) -> iso.Template:
    (tmp_path / "k").write_bytes(b"kernel" * 1000)
    (tmp_path / "r").write_bytes(b"ramdisk" * 5000)
    return iso.build(tmp_path / "boot.iso", tmp_path / "k", tmp_path / "r", LOADERS)


def whole(made: iso.Template, config: bytes, step: int) -> bytes:
    """The filled image, read in pieces of `step` bytes."""
    filled, content = made.filled(config), Path(made.path).read_bytes()
    pieces = range(0, len(content), step)
    return b"".join(filled.patch(content[at : at + step], at) for at in pieces)


def read(image: bytes, path: str) -> bytes:
    disc: Any = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(image))
    out = io.BytesIO()
    disc.get_file_from_iso_fp(out, rr_path=path)
    disc.close()
    return out.getvalue()


def test_two_controllers_make_the_same_medium(made: iso.Template, tmp_path: Path) -> None:
    """But for dates: a read that began at one may go on at another behind the same address."""
    other = iso.build(tmp_path / "o.iso", tmp_path / "k", tmp_path / "r", LOADERS)
    assert (other.size, other.hole, other.data) == (made.size, made.hole, made.data)
    one, two = Path(made.path).read_bytes(), Path(other.path).read_bytes()
    # Files begin behind the folders; what says when a folder was made is a few bytes of its entry.
    first = one.index(b"kernelkernel")
    assert one[first:] == two[first:]
    assert sum(a != b for a, b in zip(one[:first], two[:first], strict=True)) < 500


@pytest.mark.skipif(not shutil.which("mtype"), reason="needs mtools")
def test_the_partition_is_what_others_read(tmp_path: Path) -> None:
    files = {"EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 9000, "EFI/BOOT/SMALL.TXT": b"x"}
    (tmp_path / "esp").write_bytes(fat_image(files))
    for path, content in files.items():
        words = ["mtype", "-i", str(tmp_path / "esp"), f"::{path}"]
        assert subprocess.run(words, capture_output=True, check=True).stdout == content
    if shutil.which("fsck.fat"):
        subprocess.run(["fsck.fat", "-n", str(tmp_path / "esp")], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["TOOLONGNAME.EFI", "A.LONG", "É.EFI"])
def test_names_that_firmware_would_not_find(name: str) -> None:
    with pytest.raises(ValueError, match=r"8\.3"):
        fat_image({name: b""})


@pytest.mark.parametrize("step", [1 << 20, 2048, 1000])
def test_each_boot_has_its_own_words(made: iso.Template, step: int) -> None:
    for words in (("a=1",), ("b=2", "ipa-agent-token=secret")):
        image = whole(made, iso.config(words), step)
        text = read(image, "/boot/grub/grub.cfg").decode()
        assert f"linux /ingot/kernel {' '.join(repr(w) for w in words)}\n" in text
        assert read(image, "/ingot/ramdisk") == b"ramdisk" * 5000
        assert len(image) == made.size


def test_both_firmwares_find_their_loader(made: iso.Template) -> None:
    image = whole(made, b"", 1 << 20)
    assert read(image, "/.disk/info")
    (sector,) = struct.unpack_from("<I", image, 17 * 2048 + 71)
    catalogue = image[sector * 2048 : sector * 2048 + 128]
    assert catalogue[1] == 0 and catalogue[65] == 0xEF


def test_words_that_would_run_commands_never_reach_a_medium() -> None:
    for word in ("a'b", 'a"b', "a;b", "a\nb", "${x}", "a\\b"):
        with pytest.raises(BadParameter):
            iso.config(kernel_words({}, f"x={word}" if " " not in word else word))


@pytest.mark.parametrize("step", [1 << 20, 2048, 1000])
def test_a_config_drive_with_each_machines_addresses(tmp_path: Path, step: int) -> None:
    (tmp_path / "k").write_bytes(b"kernel" * 1000)
    (tmp_path / "r").write_bytes(b"ramdisk" * 5000)
    files = tmp_path / "boot.iso", tmp_path / "k", tmp_path / "r"
    made = iso.build(*files, LOADERS, network_data=True)
    for address in ("10.0.0.1", "10.0.0.2"):
        data = {"links": [], "networks": [{"ip_address": address}], "services": []}
        filled = made.filled(iso.config(("a=1",)), json.dumps(data).encode())
        content = Path(made.path).read_bytes()
        pieces = range(0, len(content), step)
        image = b"".join(filled.patch(content[at : at + step], at) for at in pieces)
        assert image[32768 + 40 : 32768 + 72].strip() == b"config-2"
        assert json.loads(read(image, iso.NETWORK_DATA)) == data
        assert b"'a=1'" in read(image, iso.CONFIG)
        assert read(image, "/.disk/info") == iso.NAME
        assert read(image, "/ingot/ramdisk") == b"ramdisk" * 5000
    with pytest.raises(Failed, match="65536"):
        made.filled(b"", bytes(65537))


def test_without_addresses_it_is_no_config_drive(made: iso.Template) -> None:
    image = whole(made, b"", 1 << 20)
    assert image[32768 + 40 : 32768 + 72].strip() == iso.LABEL.encode()
    with pytest.raises(PyCdlibException):
        read(image, iso.NETWORK_DATA)


def test_too_many_words(made: iso.Template) -> None:
    with pytest.raises(Failed, match="8192"):
        made.filled(bytes(8193))


@pytest.mark.anyio
async def test_a_medium_is_made_once_and_again_when_its_files_change(tmp_path: Path) -> None:
    kernel, ramdisk = tmp_path / "k", tmp_path / "r"
    kernel.write_bytes(b"k" * 100)
    ramdisk.write_bytes(b"r" * 100)
    store = MediaStore(tmp_path / "media", kernel, ramdisk, lambda: LOADERS)
    first = await store.template()
    assert await store.template() == first
    again = MediaStore(tmp_path / "media", kernel, ramdisk, lambda: LOADERS)
    assert await again.template() == first
    seen = {first.path}
    for size in range(101, 107):
        ramdisk.write_bytes(b"r" * size)
        seen.add((await store.template()).path)
    assert len(seen) == 7
    assert len(list((tmp_path / "media").glob("*.iso"))) == 4
    drive = await store.template(network_data=True)
    assert drive.data and drive.path not in seen
    assert await store.template(network_data=True) == drive


@pytest.mark.anyio
async def test_without_an_agent_the_fault_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No agent ramdisk") as caught:
        await MediaStore(tmp_path).template()
    assert "ingot ramdisk build" in caught.value.next_action
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
        await MediaStore(tmp_path).template(Source("k", "http://127.0.0.1:9/k"))


@pytest.mark.anyio
async def test_a_medium_holds_nothing_of_this_hosts_own_services(tmp_path: Path) -> None:
    """Whoever orders a boot names the files, and reads the medium."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        url = f"http://user:hidden-word@{host}:{port}/k"
        with pytest.raises(Fault, match="egress") as caught:
            await MediaStore(tmp_path).template(Source(url, url))
        assert "hidden-word" not in caught.value.sentence()
    assert not asked
    url = f"http://127.0.0.1:{port}/k"
    own = MediaStore(tmp_path, own_url=f"http://127.0.0.1:{port}")
    with pytest.raises(Invalid):  # the kernel is had, and there is no ramdisk
        await own.template(Source(url, url))
    assert asked
    server.close()
