"""What a machine shall boot when it asks: pure functions of its boot intent.

DHCP says who you are, HTTP says what to boot: the DHCP server sends every known machine to one static
script, which asks `/boot/<mac>`, and the answer comes from the node's boot intent. A deploy therefore
never rewrites DHCP, and a changed intent is in force at the next request.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ingot.drivers.machine.ipxe import scripts
from ingot.drivers.machine.types import BootMode
from ingot.drivers.machine.vmedia.iso import CONFIG_LABEL
from ingot.services.baremetal.boot.imagerights import Right


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node is to boot. Stored as JSON in `nodes.boot_intent`.

    boot: "agent", "disk", or "kernel" (an instance's own kernel and ramdisk).
    inspect: the agent shall send inspection data. request_id: put in all calls of the agent, so that its
    log and ours can be read together. extra: an operator's kernel parameters. kernel, ramdisk: URLs or
    image ids; of the agent "" is the configured one. iso: URL or image id of an ISO that is booted as it
    is. media: the unguessable part of the URL of this boot's medium; "" for boots from the network.
    network_data: the addresses that the agent's medium brings along; without them it asks DHCP. rights: by
    whose right kernel, ramdisk and iso are opened where they are images.
    """

    boot: Literal["agent", "disk", "kernel"]
    inspect: bool = False
    request_id: str = ""
    extra: str = ""
    kernel: str = ""
    ramdisk: str = ""
    iso: str = ""
    media: str = ""
    network_data: dict[str, Any] = {}
    rights: dict[str, Right] = {}


class BootUrls(msgspec.Struct, frozen=True):
    """Where things are on the provisioning network.

    base: the provisioning listener without a slash. kernel, ramdisk: of the agent; empty when no ramdisk
    is configured.
    """

    base: str
    kernel: str
    ramdisk: str
    params: str = ""


DISK = Intent(boot="disk")
#: Tells our ramdisk to take its addresses from a medium with that label instead of DHCP.
NETWORK_WORD = "ingot.services.network"
#: Of the script that asks for the machine's own: seconds between two questions, and how many there are.
FIRST_PAUSE, FIRST_TRIES = 10, 30
#: The newest version that the agent's client knows (ironic-python-agent 13).
AGENT_API_VERSION = "1.68"


def first_script(base: str, pause: int = FIRST_PAUSE) -> str:
    """The static script that DHCP names: it asks for the machine's own one, for five minutes.

    Then the machine goes on to its next boot device: one with a system on its disk is not to hang for as long as we
    are away. One that is not ours to boot is told so by `nobodys_script`.
    """
    return "\n".join(
        (
            "#!ipxe",
            "set tries:int32 0",
            ":again",
            f"chain --replace {base}/boot/${{mac}}?unknown=exit ||",
            f"echo Ingot: the boot service does not answer, asking again in {pause} seconds",
            "inc tries",
            f"iseq ${{tries}} {FIRST_TRIES} && exit 1 ||",
            f"sleep {pause}",
            "goto again",
            "",
        )
    )


def nobodys_script() -> str:
    """For a machine that is not ours to boot: it goes on to its next boot device."""
    return "#!ipxe\necho Ingot: the boot service does not know this machine\nsleep 5\nexit 1\n"


def script(intent: Intent | None, mac: str, mode: str | None, urls: BootUrls) -> str:
    """The boot script of one machine. Without an intent it starts its own disk."""
    own = f"{urls.base}/boot/{mac}"
    chosen = intent or DISK
    # A machine that asks although it has a medium could not boot that; its next boot is ours again.
    if chosen.boot == "disk" or chosen.media:
        return scripts.render_local(BootMode(mode or "uefi"))
    if chosen.iso:
        return scripts.render_iso(chosen.iso)
    if chosen.boot == "kernel":
        return scripts.render_instance_kernel(
            chosen.kernel, chosen.ramdisk, {}, chosen.extra, retry_url=own
        )
    kernel, ramdisk = chosen.kernel or urls.kernel, chosen.ramdisk or urls.ramdisk
    if not kernel:
        return scripts.render_wait("no agent ramdisk is configured", own)
    words = agent_params(chosen, urls), extra_params(chosen, urls)
    return scripts.render_agent(kernel, ramdisk, *words, retry_url=own)


def wait(text: str, mac: str, urls: BootUrls) -> str:
    """The boot script of a machine whose order cannot be carried out now."""
    return scripts.render_wait(text, f"{urls.base}/boot/{mac}")


def media_words(
    intent: Intent, urls: BootUrls, token: str = "", boot_mac: str = ""
) -> tuple[str, ...]:
    """The kernel's words on a boot medium. token: the agent's own, which only such media may carry."""
    if intent.boot == "kernel":
        return scripts.kernel_words({}, intent.extra)
    params = {**agent_params(intent, urls), "boot_method": "vmedia"}
    if intent.network_data:
        params[NETWORK_WORD] = CONFIG_LABEL
    if token:
        params["ipa-agent-token"] = token
    if boot_mac:
        params["BOOTIF"] = f"01-{boot_mac.replace(':', '-')}"
    return scripts.kernel_words(params, extra_params(intent, urls))


def media_url(node_uuid: str, intent: Intent, urls: BootUrls, name: str = "boot.iso") -> str:
    """Where a controller or firmware finds the medium of this boot."""
    return f"{urls.base}/media/{node_uuid}/{intent.media}/{name}"


def agent_params(intent: Intent, urls: BootUrls) -> dict[str, str | bool]:
    """The agent's kernel parameters (its documentation, "Configuring from kernel command line")."""
    params: dict[str, str | bool] = {
        "ipa-api-url": urls.base,
        # Left to find out by itself, an agent that starts while we do too takes the oldest version, and
        # serves without TLS for its whole life.
        "ipa-ironic-api-version": AGENT_API_VERSION,
    }
    if intent.inspect:
        params["ipa-inspection-callback-url"] = f"{urls.base}/v1/continue_inspection"
        params["ipa-inspection-collectors"] = "default"
    if intent.request_id:
        params["ipa-global-request-id"] = intent.request_id
    return params


def extra_params(intent: Intent, urls: BootUrls) -> str:
    """An operator's parameters; `%default%` keeps the configured ones."""
    if not intent.extra:
        return urls.params
    return intent.extra.replace("%default%", urls.params)


def intent_of(stored: Any) -> Intent | None:
    """The intent in a node's row."""
    return None if stored is None else msgspec.convert(stored, Intent)
