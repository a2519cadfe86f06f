"""The builders without network or QEMU: cache, options, boot loader placing, host checks."""

import argparse
import json
import re
import struct
from pathlib import Path

import pytest

from ingot.builders import BuildFault, build_image, build_ramdisk, host, required_packages
from ingot.builders.cache import RECIPES, cached, recipe_digest
from ingot.builders.debian import read_list
from ingot.builders.disk import Layout, linked_stages
from ingot.cli import build


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def test_second_call_finds_the_first_ones_result(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(work: Path) -> dict[str, str]:
        calls.append(work)
        (work / "kernel").write_bytes(b"k")
        return {"kernel": "kernel"}

    first = cached(tmp_path, "ramdisk", "d1", make, options={}, progress=quiet)
    second = cached(tmp_path, "ramdisk", "d1", make, options={}, progress=quiet)
    assert (first.fresh, second.fresh, len(calls)) == (True, False, 1)
    assert second.files["kernel"].read_bytes() == b"k"
    second.files["kernel"].write_bytes(b"cut short or longer")
    third = cached(tmp_path, "ramdisk", "d1", make, options={}, progress=quiet)
    assert third.fresh and third.files["kernel"].read_bytes() == b"k"
    assert cached(tmp_path, "ramdisk", "d1", make, options={}, progress=quiet, force=True).fresh


def test_failed_build_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    def make(work: Path) -> dict[str, str]:
        (work / "kernel").write_bytes(b"half")
        raise BuildFault("step", "cause", "next")

    with pytest.raises(BuildFault):
        cached(tmp_path, "ramdisk", "d1", make, options={}, progress=quiet)
    assert [p for p in (tmp_path / "ramdisk").iterdir() if p.is_dir()] == []


def test_digest_follows_recipe_and_options(tmp_path: Path) -> None:
    (tmp_path / "packages").write_text("a\n")
    one = recipe_digest(tmp_path, tmp_path, {"kernel": "cloud"})
    assert one == recipe_digest(tmp_path, tmp_path, {"kernel": "cloud"})
    assert one != recipe_digest(tmp_path, tmp_path, {"kernel": "generic"})
    (tmp_path / "packages").write_text("b\n")
    assert one != recipe_digest(tmp_path, tmp_path, {"kernel": "cloud"})


def test_grub_stages_point_at_each_other() -> None:
    boot, core = linked_stages(bytes(512), b"x" * 1300, 2048)
    assert struct.unpack_from("<Q", boot, 0x5C) == (2048,)
    assert struct.unpack_from("<QH", core, 0x1F4) == (2049, 2)
    assert len(core) == 3 * 512


def test_partitions_do_not_overlap() -> None:
    layout = Layout(disk_size=2 << 30)
    assert layout.bios_offset + layout.bios_size <= layout.esp_offset
    assert layout.esp_offset + layout.esp_size <= layout.root_offset
    assert layout.root_offset + layout.root_size <= layout.disk_size - 34 * 512


def test_missing_host_package_names_the_apt_get_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_PATH", "/nowhere")
    with pytest.raises(BuildFault) as caught:
        host.check_host()
    assert "apt-get install --no-install-recommends mmdebstrap" in caught.value.next_action
    assert all(p.reason for p in required_packages())


def test_tool_that_fails_or_hangs_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(BuildFault, match="disk is on fire"):
        host.run("try", ["sh", "-c", "echo disk is on fire; exit 3"], log=log, deadline=10)
    with pytest.raises(BuildFault, match="did not end within"):
        host.run("try", ["sleep", "60"], log=log, deadline=0.2)
    assert "disk is on fire" in log.read_text()


def test_bad_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFault, match="no kernel"):
        build_image(tmp_path, progress=quiet, kernel="hurd")
    with pytest.raises(BuildFault, match="size"):
        build_image(tmp_path, progress=quiet, size_mib=10)


def test_every_python_package_of_the_agent_is_pinned_by_hash() -> None:
    lines = read_list(RECIPES / "ramdisk" / "requirements.txt")
    text = (RECIPES / "ramdisk" / "requirements.txt").read_text()
    assert "ironic-python-agent==13.0.0" in lines
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9.]+", line) for line in lines)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) == len(lines)


def test_command_prints_the_cached_result_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(work: Path) -> dict[str, str]:
        (work / "kernel").write_bytes(b"k")
        return {"kernel": "kernel"}

    # The digest that the command will ask for, from a build that stops at once.
    monkeypatch.setattr(host, "_PATH", "/nowhere")
    with pytest.raises(BuildFault):
        build_ramdisk(tmp_path, progress=quiet)
    (lock,) = (tmp_path / "ramdisk").glob(".*.lock")
    cached(tmp_path, "ramdisk", lock.name[1:-5], make, options={}, progress=quiet)
    parser = argparse.ArgumentParser()
    build.configure_ramdisk(parser)
    args = parser.parse_args(["build", "--cache", str(tmp_path), "-f", "json"])
    assert build.run_ramdisk(args) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["fresh"] is False and document["seconds"] < 1
    assert Path(document["files"]["kernel"]).read_bytes() == b"k"
