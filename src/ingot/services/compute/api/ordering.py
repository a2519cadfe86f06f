"""From the body of POST /servers to a checked draft: everything that can be known to be wrong is a 4xx."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets as randomness
import string
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call
from ingot.kit.faults import Conflict, Fault, Forbidden, Invalid, Kind
from ingot.services.compute import keypair_store, store, userdata
from ingot.services.compute.api.common import (
    Body,
    Handlers,
    boolean,
    mapping,
    own,
    printable,
    read,
    since,
    unexpected,
)
from ingot.services.compute.service import Draft
from ingot.services.compute.types import Flavor, Key, RequestedNetwork, Secrets
from ingot.services.image import Image
from ingot.services.network import Network

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^\S(.*\S)?\Z")]
#: It is kept, sealed, until the server ends.
Password = Annotated[str, msgspec.Meta(max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
_KEY = re.compile(r"^[a-zA-Z0-9-_:. ]{1,255}\Z")
_HOST = re.compile(r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9-]{1,63})*\Z")
_TAG = re.compile(r"^[^,/]{1,60}\Z")
#: From this microversion on files are not injected any more; before, so many of so many bytes, as upstream allows.
PERSONALITY_UNTIL = 57
MOST_FILES, MOST_FILE_BYTES, MOST_PATH_BYTES = 5, 10240, 255
MOST_TAGS = 50
#: Each is looked up; no machine has so many cards.
MOST_NETWORKS = 64
MOST_GROUPS = 100
MOST_AT_ONCE = 1000
_HINTS = ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")


class NetworkIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    uuid: str | None = None
    port: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


class GroupIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class FileIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, msgspec.Meta(min_length=1)]
    contents: str


class ServerIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /servers; every field of any microversion."""

    name: Name
    flavorRef: str | int
    imageRef: str = ""
    adminPass: Password | None = None
    metadata: dict[str, Any] = {}
    networks: Any = None
    disk_config: str = msgspec.field(default="MANUAL", name="OS-DCF:diskConfig")
    accessIPv4: str | None = None
    accessIPv6: str | None = None
    personality: list[FileIn] = []
    availability_zone: Name | None = None
    block_device_mapping: list[dict[str, Any]] = []
    block_device_mapping_v2: list[dict[str, Any]] = []
    config_drive: Any = None
    key_name: Name | None = None
    min_count: Annotated[int, msgspec.Meta(ge=1)] = 1
    max_count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_reservation_id: Any = False
    security_groups: Annotated[list[GroupIn], msgspec.Meta(max_length=MOST_GROUPS)] | None = None
    user_data: str | None = None
    description: Text | None = None
    tags: list[str] = []
    trusted_image_certificates: list[str] | None = None
    host: str | None = None
    hypervisor_hostname: str | None = None
    hostname: str | None = None


_SINCE = {
    "description": 19,
    "tags": 52,
    "trusted_image_certificates": 63,
    "host": 74,
    "hypervisor_hostname": 74,
    "hostname": 90,
}


class Wanted(NamedTuple):
    """look_up: the order, checked in a transaction. grouped: it is for a server group."""

    look_up: Callable[[sa.Connection], Draft]
    order: ServerIn
    grouped: bool


class Ordering(Handlers):
    """Reads orders; looks things up in the other services as the caller sees them."""

    def draft(self, call: Call, body: Body) -> Wanted:
        """What was ordered, to be looked up in the transaction that stores it: nothing may go in between."""
        given = mapping(_only(body).get("server"), "server")
        since(call, given, _SINCE)
        if call.version.minor >= PERSONALITY_UNTIL and "personality" in given:
            raise unexpected({"personality"})
        if call.version.minor >= 37 and "networks" not in given:
            raise Invalid("Invalid input for field/attribute server: 'networks' is required.")
        order = read(ServerIn, given, "server")
        check_texts(order)
        self._unsupported(order)
        networks = _networks(order, call.version.minor)
        secrets = Secrets(
            user_data=userdata.checked(order.user_data),
            admin_pass=order.adminPass or new_password(),
            files=personality(order.personality),
        )
        zone, node = _place(order)
        if node is not None:
            call.require("os_compute_api:servers:create:forced_host", own(call))
        count = max(order.min_count, order.max_count or order.min_count)
        if order.max_count is not None and order.min_count > order.max_count:
            raise Invalid("min_count must be <= max_count")
        if count > MOST_AT_ONCE:
            raise Forbidden(f"At most {MOST_AT_ONCE} servers can be ordered by one request.")
        hints = mapping(body.get(_HINTS[0]) or body.get(_HINTS[1]) or {}, "scheduler_hints")

        def look_up(conn: sa.Connection) -> Draft:
            image = self.image(conn, call, order.imageRef or _boot_image(order))
            flavor = self._flavor(conn, call, str(order.flavorRef))
            fits(flavor, image)
            return Draft(
                name=order.name,
                flavor=flavor,
                image_id=image.id,
                networks=self._wishes(conn, call, networks, count),
                secrets=secrets,
                key=key(conn, call, order.key_name),
                metadata=metadata(
                    order.metadata, self._most_metadata(conn, call) if order.metadata else 0
                ),
                tags=tags(order.tags),
                description=order.description,
                hostname=hostname(order.hostname, call.version.minor),
                config_drive=order.config_drive is None
                or boolean(order.config_drive, "config_drive"),
                disk_config=disk_config(order.disk_config),
                zone=self._zone(zone),
                node=node,
                security_groups=self._groups(conn, call, order),
                group_id=self._group(conn, call, hints.get("group")),
                access_ip_v4=address(order.accessIPv4, 4),
                access_ip_v6=address(order.accessIPv6, 6),
                count=count,
                least=order.min_count,
            )

        return Wanted(look_up, order, grouped=hints.get("group") is not None)

    # -- look-ups ----------------------------------------------------------------------------

    def image(self, conn: sa.Connection, call: Call, ref: str) -> Image:
        """An active image that this caller sees."""
        if not ids.is_uuid(ref):
            raise Invalid(
                f"Invalid input for field/attribute imageRef. Value: {ref}. It must be an image's id."
                if ref
                else "Invalid imageRef provided."
            )
        try:
            image = self.compute.images.find(conn, ref, call.caller)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:
                raise
            raise Invalid(f"Image {ref} could not be found.") from None
        if image.status != "active":
            raise Invalid(f"Image {ref} is not active.")
        return image

    def _flavor(self, conn: sa.Connection, call: Call, ref: str) -> Flavor:
        flavor_id = ref.rstrip("/").rpartition("/")[2]
        admin = "admin" in call.caller.roles
        found = store.find_visible_flavor(conn, flavor_id, call.caller.project_id, admin)
        if found is None:
            raise Invalid(f"Flavor {ref} could not be found.")
        return found

    def _group(self, conn: sa.Connection, call: Call, group_id: object) -> str | None:
        if group_id is None:
            return None
        found = store.find_group(conn, str(group_id))
        if found is None or (
            found.project_id != call.caller.project_id and "admin" not in call.caller.roles
        ):
            raise Invalid(f"Instance group {group_id} could not be found.")
        return found.id

    def _groups(self, conn: sa.Connection, call: Call, order: ServerIn) -> tuple[str, ...]:
        """Names or ids of the caller's security groups, all known; the default one is made where it is needed."""
        if order.security_groups is None:
            return ("default",)
        names = tuple(dict.fromkeys(group.name for group in order.security_groups))
        project = call.caller.project_id or ""
        for name in names:
            try:
                if name != "default":
                    self.compute.networks.find_group(conn, project, name)
            except Fault as fault:
                if fault.kind is not Kind.MISSING:
                    raise
                raise Invalid(f"Security group {name} not found for project {project}.") from None
        return names

    def _zone(self, zone: str | None) -> str | None:
        if zone is not None and zone != self.compute.settings.availability_zone:
            raise Invalid("The requested availability zone is not available")
        return zone

    def _most_metadata(self, conn: sa.Connection, call: Call) -> int:
        return self.compute.limits(conn, call.caller.project_id or "")["metadata_items"]

    # -- networks ----------------------------------------------------------------------------

    def _wishes(
        self, conn: sa.Connection, call: Call, wanted: str | list[NetworkIn], count: int
    ) -> tuple[RequestedNetwork, ...]:
        if wanted == "none":
            return ()
        if isinstance(wanted, str):
            return self._automatic(conn, call, wanted)
        if count > 1 and any(net.port or net.fixed_ip for net in wanted):
            raise Invalid("Cannot launch multiple instances with one port or fixed IP.")
        found = tuple(self._request(conn, call, net) for net in wanted)
        ports = [request.port for request in found if request.port]
        if len(ports) != len(set(ports)):
            raise Invalid("A port is named twice.")
        return found

    def _automatic(self, conn: sa.Connection, call: Call, how: str) -> tuple[RequestedNetwork, ...]:
        seen = self.compute.networks.networks(conn, call.caller.project_id)
        usable = [network for network in seen if network.subnets and not network.external]
        if len(usable) > 1:
            raise Conflict(
                "Multiple possible networks found, use a Network ID to be more specific."
            )
        if usable:
            return (RequestedNetwork(network=usable[0].id),)
        if how == "auto":
            raise Invalid(
                "Unable to automatically allocate a network for project "
                f"{call.caller.project_id}: there is none that it may use."
            )
        return ()

    def _request(self, conn: sa.Connection, call: Call, net: NetworkIn) -> RequestedNetwork:
        if net.port is not None:
            if net.fixed_ip is not None:
                raise Invalid(
                    f"Specified Fixed IP '{net.fixed_ip}' cannot be used with port '{net.port}'."
                )
            return self._port(conn, call, net.port)
        if net.uuid is None:
            raise Invalid("Invalid input for field/attribute networks: a uuid or port is needed.")
        fixed = address(net.fixed_ip, None)
        network = self._network(conn, call, net.uuid)
        if not network.subnets:
            raise Invalid(f"Network {network.id} requires a subnet in order to boot instances on.")
        if fixed is not None and not self.compute.networks.may_choose_address(call.caller, network):
            raise Forbidden(
                f"Policy does not allow to choose an address on network {network.id}: it is another "
                "project's.",
                next_action="Leave fixed_ip out, or name a port.",
            )
        return RequestedNetwork(network=network.id, fixed_ip=fixed)

    def _network(self, conn: sa.Connection, call: Call, ident: str) -> Network:
        view = None if "admin" in call.caller.roles else call.caller.project_id
        try:
            return self.compute.networks.find_network(conn, ident, view)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:
                raise
            raise Invalid(f"Network {ident} could not be found.") from None

    def _port(self, conn: sa.Connection, call: Call, ident: str) -> RequestedNetwork:
        try:
            port = self.compute.networks.get_port(conn, ident)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:
                raise
            raise Invalid(f"Port id {ident} could not be found.") from None
        if port.project_id != call.caller.project_id and "admin" not in call.caller.roles:
            raise Invalid(f"Port id {ident} could not be found.")
        if port.device_id:
            raise Conflict(f"Port {ident} is still in use.")
        if not port.fixed_ips:
            raise Invalid(f"Port {ident} requires a FixedIP in order to be used.")
        return RequestedNetwork(port=port.id, network=port.network_id)

    # -- what is not there -------------------------------------------------------------------

    @staticmethod
    def _unsupported(order: ServerIn) -> None:
        if order.trusted_image_certificates:
            raise Invalid("Trusted image certificates are not supported.")
        if order.block_device_mapping:
            raise _no_volumes()
        for entry in order.block_device_mapping_v2:
            local = entry.get("destination_type", "local") == "local"
            root = str(entry.get("boot_index", 0)) == "0"
            if entry.get("source_type") != "image" or not local or not root:
                raise _no_volumes()
            if order.imageRef and entry.get("uuid") != order.imageRef:
                raise Invalid(
                    "Block Device Mapping is Invalid: the boot disk's image is not imageRef."
                )
        if len(order.block_device_mapping_v2) > 1:
            raise Invalid("Block Device Mapping is Invalid: a machine has one boot disk.")


def _only(body: Body) -> Body:
    extra = set(body) - {"server", *_HINTS}
    if extra:
        raise unexpected(extra)
    return body


def _no_volumes() -> Invalid:
    return Invalid(
        "Block Device Mapping is Invalid: there are no volumes here; a server boots from its machine's "
        "own disk.",
        next_action="Order the server with imageRef alone, or with one local disk made of that image.",
    )


def _boot_image(order: ServerIn) -> str:
    return next((str(entry.get("uuid") or "") for entry in order.block_device_mapping_v2), "")


def _networks(order: ServerIn, minor: int) -> str | list[NetworkIn]:
    """ "none", "auto", "" (as the cloud thinks best) or what is wanted."""
    if order.networks is None:
        return ""
    if isinstance(order.networks, str):
        if minor < 37 or order.networks not in ("none", "auto"):
            raise Invalid(f"Invalid input for field/attribute networks. Value: {order.networks}.")
        return order.networks
    found = read(list[NetworkIn], order.networks, "networks")
    if len(found) > MOST_NETWORKS:
        raise Invalid(f"Invalid input for field/attribute networks: at most {MOST_NETWORKS}.")
    return found or ""


def _place(order: ServerIn) -> tuple[str | None, str | None]:
    """Zone and machine: `zone:host:node` is how administrators name one machine."""
    zone, _, rest = (order.availability_zone or "").partition(":")
    host, _, node = rest.partition(":")
    wanted = order.hypervisor_hostname or node or host or order.host
    return zone or None, wanted or None


def personality(files: list[FileIn]) -> list[dict[str, str]]:
    """Files for the config drive, checked: {"path", "contents" in base64}."""
    if len(files) > MOST_FILES:
        raise Forbidden(f"Quota exceeded, too many injected files: at most {MOST_FILES}")
    found: list[dict[str, str]] = []
    for file in files:
        try:
            content = base64.b64decode("".join(file.contents.split()), validate=True)
        except (binascii.Error, ValueError):
            raise Invalid(f"Personality content for {file.path[:80]} cannot be decoded.") from None
        if len(content) > MOST_FILE_BYTES:
            raise Forbidden(f"Quota exceeded, injected file is larger than {MOST_FILE_BYTES} bytes")
        if len(file.path.encode()) > MOST_PATH_BYTES:
            raise Forbidden(f"Quota exceeded, path is longer than {MOST_PATH_BYTES} bytes")
        found.append({"path": file.path, "contents": base64.b64encode(content).decode()})
    return found


# -- shared with other parts ---------------------------------------------------------------------


def fits(flavor: Flavor, image: Image) -> None:
    """The image's least sizes, which 0 in a flavor leaves to the machine."""
    if flavor.ram and image.min_ram > flavor.ram:
        raise Invalid("Flavor's memory is too small for requested image.")
    if flavor.disk and image.min_disk > flavor.disk:
        raise Invalid(
            f"Flavor's disk is too small for requested image. Flavor disk is {flavor.disk} GiB, "
            f"minimum size is {image.min_disk} GiB."
        )


class Described(Protocol):
    """The texts of an order that clients print."""

    @property
    def name(self) -> str | None: ...
    @property
    def description(self) -> str | None: ...


def check_texts(order: Described) -> None:
    """Invalid unless name and description can be printed; a description may have lines."""
    printable(order.name, "name")
    printable(order.description, "description", "\n\r\t")


def metadata(values: object, most: int) -> dict[str, str]:
    """A server's metadata: short texts under simple keys."""
    found = mapping(values, "metadata")
    for key, value in found.items():
        if not _KEY.match(key) or not isinstance(value, str) or len(value) > 255:
            raise Invalid(f"Invalid input for field/attribute metadata. Key: {key}.")
    if 0 <= most < len(found):
        raise Forbidden(f"Maximum number of metadata items exceeds {most}")
    return found


def tags(values: list[str]) -> tuple[str, ...]:
    for tag in values:
        if not _TAG.match(tag):
            raise Invalid(
                f"Invalid input for field/attribute tags. Value: {tag}. A tag has 1 to 60 characters "
                "without '/' and ','."
            )
    found = tuple(dict.fromkeys(values))
    if len(found) > MOST_TAGS:
        raise Invalid(f"The number of tags exceeded the per-server limit {MOST_TAGS}")
    return found


def hostname(text: str | None, minor: int = 96) -> str | None:
    if text is None:
        return None
    if len(text) > 255 or not _HOST.match(text) or ("." in text and minor < 94):
        raise Invalid(f"Invalid input for field/attribute hostname. Value: {text}.")
    return text


def disk_config(text: str) -> str:
    if text not in ("AUTO", "MANUAL"):
        raise Invalid(f"Invalid input for field/attribute OS-DCF:diskConfig. Value: {text}.")
    return text


def address(text: str | None, version: int | None) -> str | None:
    """A checked IP address; None for none and for empty."""
    if not text:
        return None
    try:
        # Python takes any characters behind a %, a line break too.
        found = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None:
        raise Invalid(f"Invalid input: {text!r} is no IP address.")
    if version is not None and found.version != version:
        raise Invalid(f"Invalid input: {text!r} is no IPv{version} address.")
    return str(found)


def new_password() -> str:
    letters = string.ascii_letters + string.digits
    return "".join(randomness.choice(letters) for _ in range(14))


def key(conn: sa.Connection, call: Call, name: str | None) -> Key | None:
    """The caller's key pair of this name."""
    if name is None:
        return None
    found = keypair_store.find(conn, call.caller.user_id or "", name)
    if found is None:
        raise Invalid("Invalid key_name provided.")
    return Key(name=found.name, type=found.type, public_key=found.public_key)
