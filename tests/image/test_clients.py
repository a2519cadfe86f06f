"""The Image API judged by the stock `openstack` command and openstacksdk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import openstack
import pytest

from tests.identity.cloud import Cloud

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "disk.raw").write_bytes(os.urandom(3_000_000) + bytes(1_000_000))
    command = ["qemu-img", "convert", "-O", "qcow2", "disk.raw", "disk.qcow2"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder


def show(cloud: Cloud, name: str) -> dict[str, object]:
    return json.loads(cloud.ok("image", "show", name, "-f", "json"))


def test_the_life_of_an_image(cloud: Cloud, files: Path) -> None:
    raw = str(files / "disk.raw")
    cloud.ok("image", "create", "r", "--file", raw, "--disk-format", "raw", "--public")
    assert show(cloud, "r")["status"] == "active"
    listed = json.loads(cloud.ok("image", "list", "-f", "json", cloud="ingot-demo"))
    assert [item["Name"] for item in listed] == ["r"]
    cloud.ok("image", "set", "r", "--name", "r2", "--property", "os_distro=debian", "--tag", "t")
    cloud.ok("image", "unset", "r2", "--tag", "t")
    shown = show(cloud, "r2")
    assert shown["properties"]["os_distro"] == "debian"  # type: ignore[index]
    assert shown["tags"] == []
    cloud.ok("image", "save", "r2", "--file", "copy", cloud="ingot-demo")
    assert (cloud.state / "copy").read_bytes() == (files / "disk.raw").read_bytes()
    cloud.ok("image", "delete", "r2")
    assert cloud.ok("image", "list", "-f", "value") == ""


def test_qcow2_and_what_it_hides(cloud: Cloud, files: Path) -> None:
    qcow2 = str(files / "disk.qcow2")
    cloud.ok("image", "create", "q", "--file", qcow2, "--disk-format", "qcow2", "--import")
    shown = show(cloud, "q")
    assert shown["status"] == "active"
    assert shown["virtual_size"] >= 4_000_000  # type: ignore[operator]
    lie = cloud.client("image", "create", "l", "--file", qcow2, "--disk-format", "raw")
    assert lie.returncode != 0
    assert "its content is qcow2" in lie.stderr
    cloud.ok("image", "delete", "q")


def test_sharing(cloud: Cloud, files: Path) -> None:
    words = ("image", "create", "s", "--shared", "--file", str(files / "disk.raw"))
    made = json.loads(cloud.ok(*words, "-f", "json"))["id"]
    cloud.ok("image", "add", "project", made, "demo")
    cloud.ok("image", "set", made, "--accept", cloud="ingot-demo")
    assert "s" in cloud.ok("image", "list", "-f", "value", "-c", "Name", cloud="ingot-demo")
    cloud.ok("image", "delete", made)


def test_the_sdk(cloud: Cloud, files: Path) -> None:
    config = openstack.config.OpenStackConfig(config_files=[str(cloud.state / "clouds.yaml")])
    connection = openstack.connection.Connection(config=config.get_one("ingot-demo"))
    image = connection.create_image(
        "sdk", filename=str(files / "disk.qcow2"), disk_format="qcow2", wait=True
    )
    assert image.status == "active"
    found = connection.image.find_image("sdk")
    assert found is not None
    assert found.hash_algo == "sha512"
    connection.image.delete_image(found)
    assert connection.image.find_image("sdk") is None
