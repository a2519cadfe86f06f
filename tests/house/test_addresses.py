"""What a first start tells of where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingot.app.build import build
from ingot.app.options import egress_of, near_url
from ingot.settings import Settings, load
from ingot.settings.tree import Egress, Provisioning


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:6385", "http://127.0.0.1:6385"),
        ("0.0.0.0:6385", "http://127.0.0.1:6385"),
        ("[::]:6385", "http://[::1]:6385"),
        ("192.0.2.4:80", "http://192.0.2.4:80"),
        ("cloud.example:6385", "http://cloud.example:6385"),
    ],
)
def test_a_usable_address_for_clients_here(listen: str, url: str) -> None:
    assert near_url(Settings(listen=listen)) == url


@pytest.mark.parametrize(
    ("settings", "loopback"),
    [
        (Settings(), False),
        (Settings(listen="127.0.0.1:6385"), False),
        (Settings(provisioning=Provisioning(url="http://127.0.0.1:80")), False),
        (Settings(provisioning=Provisioning(listen="192.0.2.1:80")), False),
        (Settings(provisioning=Provisioning(listen="0.0.0.0:80")), False),
        (Settings(provisioning=Provisioning(listen="127.0.0.1:80")), True),
        (Settings(provisioning=Provisioning(listen="[::1]:80")), True),
        (Settings(provisioning=Provisioning(listen="localhost:80")), True),
        (Settings(egress=Egress(allow=["127.0.0.0/8"])), True),
    ],
)
def test_loopback_is_open_where_the_operator_put_machines_there(
    settings: Settings, loopback: bool
) -> None:
    """Not where the API listens there, as behind a proxy, and there is no provisioning listener."""
    found = egress_of(settings)
    assert found.permits("127.0.0.1") == found.permits("127.20.0.7") == loopback
    assert not found.permits("169.254.169.254") and not found.permits("0.0.0.0")


def test_what_the_operator_closes_is_closed_for_all() -> None:
    found = egress_of(Settings(egress=Egress(allow=["10.1.0.0/24"], refuse=["10.0.0.0/8"])))
    assert found.permits("10.1.0.9") and not found.permits("10.2.0.9")


def test_virtual_racks_have_controllers_on_addresses_of_their_own() -> None:
    assert egress_of(Settings(netns="rack")).own
    assert egress_of(Settings(provisioning=Provisioning(listen="127.0.0.1:80"))).own
    assert not egress_of(Settings(provisioning=Provisioning(listen="192.0.2.1:80"))).own


def test_drivers_images_and_agents_have_one_idea_of_whom_they_ask(tmp_path: Path) -> None:
    cloud = build(load(None, state=str(tmp_path), listen="127.0.0.1:0"))
    machines = cloud.machines
    assert machines.registry.context.egress is cloud.base.egress is machines.deps.sources.egress
    assert not cloud.base.egress.permits("127.0.0.1")
