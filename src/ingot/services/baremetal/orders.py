"""What each kind of operation is asked to do: the inputs of the workflows.

Secrets are never part of an order: the config drive and the rescue password wait sealed in the node's
secrets. `notify` is the subject (such as "server:<uuid>") that gets a signal when the operation ends.
"""

from __future__ import annotations

from typing import Any

import msgspec

#: The verb that brings a given-up service back to its instance.
RESTORE = "restore"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    notify: str = ""


class VerifyOrder(Order, frozen=True, kw_only=True):
    """Make sure that the controller answers, and learn who it is."""


class InspectOrder(Order, frozen=True, kw_only=True):
    """Fill inventory, properties and ports."""


class CleanOrder(Order, frozen=True, kw_only=True):
    """steps: None for automated cleaning, else the client's own list in its order."""

    steps: list[dict[str, Any]] | None = None
    disable_ramdisk: bool = False


class DeployOrder(Order, frozen=True, kw_only=True):
    """Put the image named in instance_info on the machine and start it."""

    rebuild: bool = False
    preserve_ephemeral: bool = False
    steps: list[dict[str, Any]] | None = None


class UndeployOrder(Order, frozen=True, kw_only=True):
    """Take the instance away and clean the machine."""


class AdoptOrder(Order, frozen=True, kw_only=True):
    """Take a machine with a running system into care without touching its disk."""


class RescueOrder(Order, frozen=True, kw_only=True):
    """Boot the agent with a login for rescue."""


class UnrescueOrder(Order, frozen=True, kw_only=True):
    """Boot the disk again."""


class ServiceOrder(Order, frozen=True, kw_only=True):
    """Run the client's steps on a machine in use, in their order."""

    steps: list[dict[str, Any]] = []
    disable_ramdisk: bool = False


class RestoreOrder(Order, frozen=True, kw_only=True):
    """Start the instance again after a service that was given up."""


class PowerOrder(Order, frozen=True, kw_only=True):
    """target: as in PUT states/power. timeout: seconds for soft targets."""

    target: str
    timeout: int | None = None


class BootModeOrder(Order, frozen=True, kw_only=True):
    """target: "bios" or "uefi"."""

    target: str


class SecureBootOrder(Order, frozen=True, kw_only=True):
    on: bool


class MediaOrder(Order, frozen=True, kw_only=True):
    """device and image_url: what to insert; without device the drives of `eject` are emptied."""

    device: str | None = None
    image_url: str = ""
    eject: list[str] = []


class VendorOrder(Order, frozen=True, kw_only=True):
    """The arguments wait sealed in the node's secrets."""

    method: str
    http_method: str


class ActOrder(Order, frozen=True, kw_only=True):
    """What a request does at the controller by itself (`baremetal.acts`), with the machine held meanwhile."""


#: Kinds of operation that are acts.
ACTS = frozenset({"boot device", "indicator", "nmi", "vendor method"})

#: Kind of operation -> its order.
ORDERS: dict[str, type[Order]] = {
    "verify": VerifyOrder,
    "inspect": InspectOrder,
    "clean": CleanOrder,
    "deploy": DeployOrder,
    "undeploy": UndeployOrder,
    "adopt": AdoptOrder,
    "rescue": RescueOrder,
    "unrescue": UnrescueOrder,
    "service": ServiceOrder,
    "restore": RestoreOrder,
    "power": PowerOrder,
    "boot mode": BootModeOrder,
    "secure boot": SecureBootOrder,
    "virtual media": MediaOrder,
    "vendor call": VendorOrder,
    **dict.fromkeys(sorted(ACTS), ActOrder),
}
