"""Images of file systems: when an image is one, how the disk is divided, and what the agent is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from drafts import NODE

from ingot.drivers.machine.agent.image import DeployImage, Partitions
from ingot.kit.faults import Invalid
from ingot.services.baremetal.workflows.partitions import partitions_of


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        ({}, None),
        ({"image_type": "whole-disk", "kernel": "k", "ramdisk": "r"}, None),
        ({"kernel": "k"}, None),
        ({"kernel": "k", "ramdisk": "r", "root_gb": "4"}, Partitions(4096)),
        ({"image_type": "partition", "root_gb": 10}, Partitions(10240)),
        (
            {
                "image_type": "partition",
                "root_gb": 10,
                "swap_mb": "512",
                "ephemeral_gb": 2,
                "ephemeral_format": "xfs",
                "preserve_ephemeral": "True",
            },
            Partitions(10240, 512, 2048, "xfs", preserve_ephemeral=True),
        ),
        ({"image_type": "partition"}, "root_gb is missing"),
        ({"image_type": "partition", "root_gb": "big"}, "no whole number"),
        ({"image_type": "partition", "root_gb": 1, "swap_mb": -1}, "no whole number"),
        ({"image_type": "odd"}, "neither partition nor whole-disk"),
    ],
)
def test_when_and_how(info: dict[str, Any], wanted: Partitions | str | None) -> None:
    node = replace(NODE, instance_info=info)
    if isinstance(wanted, str):
        with pytest.raises(Invalid, match=wanted):
            partitions_of(node)
    else:
        assert partitions_of(node) == wanted


def test_what_the_agent_is_told() -> None:
    image = DeployImage("i", ("http://x/i",), "raw", "sha256", "0" * 64)
    assert image.info()["image_type"] == "whole-disk" and "root_mb" not in image.info()
    told = replace(image, partitions=Partitions(4096, 128)).info()
    assert (told["image_type"], told["root_mb"], told["swap_mb"]) == ("partition", 4096, 128)
    assert (told["ephemeral_mb"], told["preserve_ephemeral"]) == (0, False)
