"""Addresses: which one a port gets. Pure: subnets and taken addresses in, addresses out.

Static addresses of IPv4 and IPv6. Addresses that machines make up themselves (SLAAC, DHCPv6 stateless)
are not built; the API refuses those modes.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from ingot.services.network.faults import conflict, invalid
from ingot.services.network.types import FixedIp, Subnet

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Cidr = ipaddress.IPv4Network | ipaddress.IPv6Network
Pool = tuple[Address, Address]


class Used(Protocol):
    """The addresses in use on a subnet, as texts: a set, or a look into the database."""

    def __contains__(self, address: object, /) -> bool: ...
    def __len__(self) -> int: ...


#: Addresses in use, by subnet.
Taken = Mapping[str, Used]
#: Where the search for a free address begins, by subnet; a hint, since what is taken is looked up.
Places = MutableMapping[str, int]

#: A port carries few addresses; more is a mistake or an attack.
MOST_FIXED_IPS = 5


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """What a caller wants of one fixed address: a subnet, an address, or both."""

    subnet_id: str | None = None
    ip_address: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """The checked range of a subnet."""

    cidr: Cidr
    gateway: Address | None
    pools: tuple[Pool, ...]

    def pools_wire(self) -> list[dict[str, str]]:
        return [{"start": str(low), "end": str(high)} for low, high in self.pools]


def address(text: str, what: str = "IP address") -> Address:
    """The address in `text`, without a zone; a 400 when there is none."""
    try:
        return ipaddress.ip_address(_plain(text))
    except ValueError:
        raise invalid("InvalidInput", f"{text!r} is not a valid {what}.") from None


def network(text: str) -> Cidr:
    """The network in `text`, host bits cleared; a 400 when it is none."""
    try:
        return ipaddress.ip_network(_plain(text), strict=False)
    except ValueError:
        raise invalid("InvalidInput", f"{text!r} is not a valid CIDR.") from None


def _plain(text: str) -> str:
    """The text, which has no zone: Python takes any characters behind a %, a line break too."""
    if "%" in text or not text.isprintable():
        raise ValueError(text)
    return text


def routes(given: Sequence[Mapping[str, str]], version: int) -> list[dict[str, str]]:
    """A subnet's routes in normal form; a 400 for one that is not of the subnet's IP version."""
    found: list[dict[str, str]] = []
    for route in given:
        to, hop = network(route["destination"]), address(route["nexthop"], "nexthop")
        for what, part in (("destination", to), ("nexthop", hop)):
            if part.version != version:
                raise invalid(
                    "InvalidInput", f"Route {what} {part} is not of the subnet's IP version."
                )
        found.append({"destination": str(to), "nexthop": str(hop)})
    return found


def _hosts(cidr: Cidr) -> Pool:
    """First and last address that a host may have."""
    first, last = int(cidr.network_address), int(cidr.broadcast_address)
    size = last - first + 1
    if cidr.version == 4 and size > 2:
        return cidr[1], cidr[-2]
    if cidr.version == 6 and size > 2:
        return cidr[1], cidr[-1]  # the first is the routers' anycast address
    return cidr[0], cidr[-1]


def make_range(
    cidr: Cidr,
    gateway: Address | None,
    *,
    default_gateway: bool,
    pools: Sequence[tuple[str, str]] | None,
) -> Range:
    """A subnet's range: gateway and pools filled in and checked.

    default_gateway: use the first host address when no gateway is given.
    pools: None means everything but the gateway.
    """
    first, last = _hosts(cidr)
    if gateway is None and default_gateway:
        gateway = first
    if gateway is not None:
        _check_gateway(cidr, gateway)
    if pools is None:
        return Range(cidr, gateway, _without(first, last, gateway))
    checked = tuple(sorted(_pool(cidr, first, last, low, high) for low, high in pools))
    for before, after in itertools.pairwise(checked):
        if int(after[0]) <= int(before[1]):
            raise conflict(
                "OverlappingAllocationPools",
                f"Found overlapping allocation pools {before[0]}-{before[1]} and "
                f"{after[0]}-{after[1]} for subnet {cidr}.",
            )
    for low, high in checked:
        if gateway is not None and int(low) <= int(gateway) <= int(high):
            raise conflict(
                "GatewayConflictWithAllocationPools",
                f"Gateway ip {gateway} conflicts with allocation pool {low}-{high}.",
            )
    return Range(cidr, gateway, checked)


def _check_gateway(cidr: Cidr, gateway: Address) -> None:
    if gateway.version != cidr.version:
        raise invalid("InvalidInput", f"Gateway {gateway} is not of the subnet's IP version.")
    if cidr.version == 4 and gateway not in cidr:
        raise invalid("InvalidInput", f"Gateway {gateway} is not inside {cidr}.")
    if cidr.num_addresses > 2 and gateway in (cidr.network_address, cidr.broadcast_address):
        if cidr.version == 6 and gateway != cidr.network_address:
            return
        raise invalid("InvalidInput", f"Gateway {gateway} is not a host address of {cidr}.")


def _pool(cidr: Cidr, first: Address, last: Address, low: str, high: str) -> Pool:
    start, end = address(low, "pool start"), address(high, "pool end")
    if start.version != cidr.version or end.version != cidr.version:
        raise invalid(
            "InvalidAllocationPool", f"The allocation pool {low}-{high} is not valid for {cidr}."
        )
    if int(start) > int(end):
        raise invalid("InvalidAllocationPool", f"The allocation pool {low}-{high} is not valid.")
    if int(start) < int(first) or int(end) > int(last):
        raise invalid(
            "OutOfBoundsAllocationPool",
            f"The allocation pool {low}-{high} spans beyond the subnet cidr {cidr}.",
        )
    return start, end


def _without(first: Address, last: Address, gateway: Address | None) -> tuple[Pool, ...]:
    """The range from first to last, with a hole where the gateway is."""
    if gateway is None or not int(first) <= int(gateway) <= int(last):
        return ((first, last),)
    parts: list[Pool] = []
    if int(gateway) > int(first):
        parts.append((first, gateway - 1))
    if int(gateway) < int(last):
        parts.append((gateway + 1, last))
    return tuple(parts)


def first_free(
    pools: Sequence[Mapping[str, str]],
    taken: Used,
    also: Collection[str] = (),
    begin: int | None = None,
) -> tuple[Address, int] | None:
    """An address of the pools that nobody has, and its place in them; None when all are taken.

    begin: the place after the one that was given last. So the next one is found at the first look or a few later,
    however many are in use, and an address that became free is not given to the next machine at once. None, when
    nothing is known: as many places on as there are addresses in use, the lowest free one if there are no holes.
    """
    bounds = [
        (ipaddress.ip_address(pool["start"]), int(ipaddress.ip_address(pool["end"])))
        for pool in pools
    ]
    size = sum(high - int(low) + 1 for low, high in bounds)
    if begin is None:
        begin = len(taken) + len(also)
    start = begin % size if size else 0
    for at in itertools.chain(range(start, size), range(start)):
        candidate = _nth(bounds, at)
        if str(candidate) not in taken and str(candidate) not in also:
            return candidate, at
    return None


def _nth(bounds: Sequence[tuple[Address, int]], at: int) -> Address:
    """The address at a place in the pools, counted through all of them."""
    for low, high in bounds:
        length = high - int(low) + 1
        if at < length:
            return low + at
        at -= length
    raise IndexError(at)


def check_free(subnet: Subnet, wanted: Address, taken: Used) -> None:
    """Refuse an address that is not a host's on this subnet, or is somebody's."""
    cidr = ipaddress.ip_network(subnet.cidr)
    first, last = _hosts(cidr)
    if wanted not in cidr or not int(first) <= int(wanted) <= int(last):
        raise invalid(
            "InvalidIpForSubnet", f"IP address {wanted} is not a valid IP for the subnet {cidr}."
        )
    # The gateway's own address is for the gateway's own port, which is made by its address too.
    if str(wanted) in taken:
        raise conflict(
            "IpAddressAlreadyAllocated",
            f"IP address {wanted} already allocated in subnet {subnet.id}.",
            "Choose another address, or delete the port that has it.",
        )


def allocate(
    network_id: str,
    subnets: Sequence[Subnet],
    requests: Sequence[AddressRequest] | None,
    taken: Taken,
    places: Places,
) -> tuple[FixedIp, ...]:
    """The fixed addresses of a new port.

    requests: None gives one IPv4 and one IPv6 address where there are such subnets; empty gives none.
    places: where the search begins; it is moved on.
    Raises 409 IpAddressGenerationFailure when the pools are exhausted.
    """
    if requests is None:
        return _automatic(network_id, subnets, taken, places)
    if len(requests) > MOST_FIXED_IPS:
        raise invalid(
            "InvalidInput", f"A port has at most {MOST_FIXED_IPS} fixed IPs, not {len(requests)}."
        )
    given: list[FixedIp] = []
    mine: set[str] = set()
    # Stated addresses first, so that an automatic one does not take them.
    order = sorted(range(len(requests)), key=lambda at: requests[at].ip_address is None)
    chosen: dict[int, FixedIp] = {}
    for at in order:
        request = requests[at]
        subnet = _subnet_of(network_id, subnets, request)
        if request.ip_address is not None:
            found = address(request.ip_address)
            check_free(subnet, found, mine if str(found) in mine else taken.get(subnet.id, ()))
        else:
            free = _next(subnet, taken, places, mine)
            if free is None:
                raise _exhausted(network_id)
            found = free
        mine.add(str(found))
        chosen[at] = FixedIp(subnet.id, str(found))
    given.extend(chosen[at] for at in range(len(requests)))
    return tuple(given)


def _next(
    subnet: Subnet, taken: Taken, places: Places, also: Collection[str] = ()
) -> Address | None:
    """The next free address of a subnet's pools."""
    found = first_free(
        subnet.allocation_pools, taken.get(subnet.id, ()), also, places.get(subnet.id)
    )
    if found is None:
        return None
    places[subnet.id] = found[1] + 1
    return found[0]


def _automatic(
    network_id: str, subnets: Sequence[Subnet], taken: Taken, places: Places
) -> tuple[FixedIp, ...]:
    given: list[FixedIp] = []
    for version in (4, 6):
        candidates = [subnet for subnet in subnets if subnet.ip_version == version]
        for subnet in candidates:
            found = _next(subnet, taken, places)
            if found is not None:
                given.append(FixedIp(subnet.id, str(found)))
                break
        else:
            if candidates:
                raise _exhausted(network_id)
    return tuple(given)


def _subnet_of(network_id: str, subnets: Sequence[Subnet], request: AddressRequest) -> Subnet:
    if request.subnet_id is not None:
        for subnet in subnets:
            if subnet.id == request.subnet_id:
                return subnet
        raise invalid(
            "InvalidInput", f"Subnet {request.subnet_id} is not a subnet of network {network_id}."
        )
    if request.ip_address is None:
        raise invalid("InvalidInput", "A fixed IP needs a subnet_id, an ip_address, or both.")
    wanted = address(request.ip_address)
    for subnet in subnets:
        if wanted in ipaddress.ip_network(subnet.cidr):
            return subnet
    raise invalid(
        "InvalidIpForNetwork",
        f"IP address {wanted} is not a valid IP for any of the subnets on network {network_id}.",
        f"Choose an address in {', '.join(s.cidr for s in subnets) or 'a subnet, once it has one'}.",
    )


def _exhausted(network_id: str) -> Exception:
    return conflict(
        "IpAddressGenerationFailure",
        f"No more IP addresses available on network {network_id}.",
        "Delete ports that are not needed, widen the allocation pools, or add a subnet.",
    )


def request_of(item: Mapping[str, str] | FixedIp) -> AddressRequest:
    """What a body or a port says of one address."""
    given = asdict(item) if isinstance(item, FixedIp) else item
    return AddressRequest(given.get("subnet_id"), given.get("ip_address"))


def keeping(requests: Sequence[AddressRequest], own: Sequence[FixedIp]) -> list[AddressRequest]:
    """Wishes of a port that has addresses: one for "any address of this subnet" keeps the one there is."""
    stated = {request.ip_address for request in requests}
    spare = [ip for ip in own if ip.ip_address not in stated]
    kept: list[AddressRequest] = []
    for request in requests:
        same = next((ip for ip in spare if ip.subnet_id == request.subnet_id), None)
        if request.ip_address is None and same is not None:
            spare.remove(same)
            request = AddressRequest(same.subnet_id, same.ip_address)
        kept.append(request)
    return kept
