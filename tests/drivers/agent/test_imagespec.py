"""What is said of an instance's image before anything is done."""

from __future__ import annotations

import pytest

from ingot.drivers.machine.agent.imagespec import problems, proxy_problems
from ingot.drivers.machine.agent.interfaces import (
    CustomAgentDeploy,
    DirectDeploy,
    RamdiskDeploy,
)

SHA = "0" * 64
URL = {"image_source": "http://x/i", "image_os_hash_algo": "sha256", "image_os_hash_value": SHA}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, "image_source is missing"),
        ({"image_source": "a-glance-id"}, ""),
        ({"image_source": "http://x/i"}, "must be provided"),
        ({"image_source": "http://x/i", "image_checksum": SHA}, ""),
        ({**URL, "image_os_hash_value": ""}, "must be provided"),
        ({**URL, "image_os_hash_algo": "md5"}, "none of sha256"),
        ({**URL, "image_os_hash_value": "12"}, "has 2 digits"),
        (URL, ""),
        ({**URL, "image_type": "odd"}, 'Invalid image_type "odd"'),
        ({**URL, "image_type": "partition"}, "root_gb is missing"),
        ({**URL, "kernel": "k", "ramdisk": "r"}, "root_gb is missing"),
        ({**URL, "image_type": "partition", "root_gb": "big"}, "not an integer"),
        ({**URL, "image_type": "partition", "root_gb": 4, "swap_mb": 128}, ""),
        ({**URL, "image_type": "whole-disk", "swap_mb": 128}, "whole disk image with swap"),
        ({**URL, "root_gb": 40, "swap_mb": "0"}, ""),
        ({**URL, "preserve_ephemeral": "perhaps"}, "not true or false"),
    ],
)
def test_images(info: dict[str, object], words: str) -> None:
    found = DirectDeploy().problems(info)
    assert found == problems(info)
    assert (words in " ".join(found)) if words else not found, found


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"boot_iso": "http://x/a.iso"}, ""),
        ({"boot_iso": "http://x/a.iso", "image_source": "i"}, "same time"),
        ({"kernel": "k", "ramdisk": "r"}, ""),
        ({"kernel": "k"}, "ramdisk is missing"),
        ({"image_source": "i"}, ""),
        ({}, "kernel is missing"),
    ],
)
def test_instances_without_a_disk(info: dict[str, object], words: str) -> None:
    found = " ".join(RamdiskDeploy().problems(info))
    assert words in found if words else not found


@pytest.mark.parametrize(
    ("info", "good"),
    [
        ({}, True),
        ({"image_http_proxy": "http://proxy:3128", "image_no_proxy": "a,.b.c"}, True),
        ({"image_https_proxy": "ftp://proxy"}, False),
        ({"image_no_proxy": "a b"}, False),
        ({"image_no_proxy": "a,,b"}, False),
    ],
)
def test_proxies(info: dict[str, object], good: bool) -> None:
    assert (not proxy_problems(info)) is good


def test_steps_of_the_styles() -> None:
    names = [step.step for step in CustomAgentDeploy().steps()]
    assert "write_image" not in names and "boot_instance" in names
    assert CustomAgentDeploy().problems({}) == ()
