"""Every command of the stock `openstack baremetal` does what its help says."""

from __future__ import annotations

import pytest

from tools.conformance import client
from tools.conformance.cloud import Cloud

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_no_command_is_forgotten() -> None:
    said = {line.name for line in client.script()}
    assert client.names() - said == set()
    assert len(client.names()) > 110


def test_every_command(cloud: Cloud) -> None:
    results = client.run(cloud)
    wrong = [f"{line.command}: {fault}" for line, fault in results if fault]
    assert not wrong, "\n".join(wrong)
