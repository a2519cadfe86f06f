"""Addresses: properties that hold for any subnet, pool and order of requests."""

from __future__ import annotations

import ipaddress
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.kit.faults import Fault, Kind
from ingot.services.network import ipam
from ingot.services.network.types import Subnet

# Shared machines stall: how long an example takes says nothing.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def subnet(range_: ipam.Range, id: str = "s") -> Subnet:
    return Subnet(
        id=id,
        project_id="p",
        network_id="n",
        name="",
        description="",
        ip_version=range_.cidr.version,
        cidr=str(range_.cidr),
        gateway_ip=None if range_.gateway is None else str(range_.gateway),
        enable_dhcp=True,
        allocation_pools=range_.pools_wire(),
        dns_nameservers=[],
        host_routes=[],
        tags=[],
        revision_number=0,
        created_at=NOW,
        updated_at=NOW,
    )


@st.composite
def cidrs(draw: st.DrawFn, smallest: int = 24) -> ipam.Cidr:
    if draw(st.booleans()):
        base = draw(st.integers(0, 2**32 - 1))
        return ipaddress.ip_network((base, draw(st.integers(smallest, 32))), strict=False)
    base = draw(st.integers(0, 2**128 - 1))
    return ipaddress.ip_network((base, draw(st.integers(120, 128))), strict=False)


def ranges(smallest: int = 24) -> st.SearchStrategy[ipam.Range]:
    return st.builds(
        lambda cidr, gateway: ipam.make_range(cidr, None, default_gateway=gateway, pools=None),
        cidrs(smallest),
        st.booleans(),
    )


@given(ranges())
def test_pools_have_neither_gateway_nor_the_nets_own_addresses(range_: ipam.Range) -> None:
    inside = [
        address
        for low, high in range_.pools
        for address in map(type(low), range(int(low), int(high) + 1))
    ]
    assert len(inside) == len(set(inside))
    assert all(address in range_.cidr for address in inside)
    assert range_.gateway not in inside
    if range_.cidr.num_addresses > 2:
        assert range_.cidr.network_address not in inside
        if range_.cidr.version == 4:
            assert range_.cidr.broadcast_address not in inside


@given(ranges(28))
def test_all_of_the_pool_is_given_once_then_409(range_: ipam.Range) -> None:
    one = subnet(range_)
    size = sum(int(high) - int(low) + 1 for low, high in range_.pools)
    taken: set[str] = set()
    places: dict[str, int] = {}
    for _ in range(min(size, 300)):
        (ip,) = ipam.allocate("n", [one], None, {"s": taken}, places)
        assert ip.ip_address not in taken
        taken.add(ip.ip_address)
    if size <= 300:
        with pytest.raises(Fault) as caught:
            ipam.allocate("n", [one], None, {"s": taken}, places)
        assert caught.value.kind == Kind.CONFLICT
        assert caught.value.details["type"] == "IpAddressGenerationFailure"
        assert caught.value.next_action


@given(ranges(28), st.data())
def test_a_stated_address_is_given_or_refused_never_changed(
    range_: ipam.Range, data: st.DataObject
) -> None:
    one = subnet(range_)
    offset = data.draw(st.integers(0, range_.cidr.num_addresses - 1))
    wanted = str(range_.cidr[offset])
    taken = {wanted} if data.draw(st.booleans()) else set[str]()
    try:
        (ip,) = ipam.allocate(
            "n", [one], [ipam.AddressRequest(ip_address=wanted)], {"s": taken}, {}
        )
    except Fault as fault:
        own = wanted in (str(range_.cidr[0]), str(range_.cidr[-1]))
        assert taken or own
        assert fault.kind in (Kind.CONFLICT, Kind.INVALID)
    else:
        assert ip.ip_address == wanted and not taken


@given(st.lists(st.integers(1, 254), min_size=2, max_size=6, unique=True))
def test_stated_pools_are_kept_or_refused(ends: list[int]) -> None:
    ends = sorted(ends)[: len(ends) // 2 * 2]
    pools = [(f"192.0.2.{a}", f"192.0.2.{b}") for a, b in zip(ends[::2], ends[1::2], strict=True)]
    cidr = ipaddress.ip_network("192.0.2.0/24")
    made = ipam.make_range(cidr, None, default_gateway=False, pools=pools)
    assert [(str(a), str(b)) for a, b in made.pools] == pools
    inside = ipaddress.ip_address(pools[0][0])
    with pytest.raises(Fault, match="conflicts with allocation pool"):
        ipam.make_range(cidr, inside, default_gateway=False, pools=pools)
    with pytest.raises(Fault, match="overlapping"):
        ipam.make_range(cidr, None, default_gateway=False, pools=[*pools, pools[0]])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("192.0.2.9", "192.0.2.3"),
        ("192.0.2.0", "192.0.2.3"),
        ("192.0.2.9", "192.0.2.255"),
        ("198.51.100.1", "198.51.100.2"),
        ("2001:db8::1", "2001:db8::2"),
        ("x", "y"),
    ],
)
def test_bad_pools(low: str, high: str) -> None:
    cidr = ipaddress.ip_network("192.0.2.0/24")
    with pytest.raises(Fault) as caught:
        ipam.make_range(cidr, None, default_gateway=False, pools=[(low, high)])
    assert caught.value.kind == Kind.INVALID


def test_both_versions_and_the_next_subnet() -> None:
    def made(cidr: str, id: str) -> Subnet:
        return subnet(
            ipam.make_range(ipam.network(cidr), None, default_gateway=True, pools=None), id
        )

    small, large, six = (
        made("192.0.2.0/30", "a"),
        made("192.0.2.8/29", "b"),
        made("2001:db8::/64", "c"),
    )
    first = ipam.allocate("n", [small, large, six], None, {}, {})
    assert [ip.ip_address for ip in first] == ["192.0.2.2", "2001:db8::2"]
    full = ipam.allocate("n", [small, large, six], None, {"a": {"192.0.2.2"}}, {})
    assert full[0].ip_address == "192.0.2.10"
    assert ipam.allocate("n", [small], [], {}, {}) == ()
    assert ipam.allocate("n", [], None, {}, {}) == ()


def test_wishes_of_one_port_do_not_meet() -> None:
    one = subnet(
        ipam.make_range(ipam.network("192.0.2.0/29"), None, default_gateway=True, pools=None)
    )
    requests = [ipam.AddressRequest("s"), ipam.AddressRequest("s", "192.0.2.2")]
    given_ = ipam.allocate("n", [one], requests, {}, {})
    assert [ip.ip_address for ip in given_] == ["192.0.2.3", "192.0.2.2"]
    for bad in (
        [ipam.AddressRequest("s", "192.0.2.2")] * 2,
        [ipam.AddressRequest("other")],
        [ipam.AddressRequest()],
        [ipam.AddressRequest(ip_address="203.0.113.1")],
        [ipam.AddressRequest("s")] * 6,
    ):
        with pytest.raises(Fault):
            ipam.allocate("n", [one], bad, {}, {})


class Counted(set[str]):
    """Addresses in use that count how often somebody asked."""

    asked = 0

    def __contains__(self, address: object) -> bool:
        self.asked += 1
        return super().__contains__(address)


@given(st.lists(st.booleans(), max_size=60), st.randoms(use_true_random=False))
def test_the_next_address_is_found_at_once_and_a_free_one_rests(
    comings: list[bool], dice: random.Random
) -> None:
    one = subnet(
        ipam.make_range(ipam.network("192.0.2.0/24"), None, default_gateway=True, pools=None)
    )
    taken = Counted(f"192.0.2.{last}" for last in range(2, 100))
    given_: list[str] = []
    places = {"s": 98}
    for comes in comings:
        if comes or not taken:
            taken.asked = 0
            (ip,) = ipam.allocate("n", [one], None, {"s": taken}, places)
            assert taken.asked == 1 and ip.ip_address not in given_
            taken.add(ip.ip_address)
            given_.append(ip.ip_address)
        else:
            taken.discard(dice.choice(sorted(taken)))
