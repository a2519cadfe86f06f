"""What a machine shall boot when it asks: pure functions of its boot intent.

DHCP says who you are, HTTP says what to boot: the DHCP server sends every known machine to one static
script, which asks `/boot/<mac>`, and the answer comes from the node's boot intent. A deploy therefore
never rewrites DHCP, and a changed intent is in force at the next request.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ingot.drivers.ipxe import scripts
from ingot.drivers.types import BootMode


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node is to boot. Stored as JSON in `nodes.boot_intent`.

    boot: "agent", "disk", or "kernel" (an instance's own kernel and ramdisk).
    inspect: the agent shall send inspection data. request_id: put in all calls of the agent, so that its
    log and ours can be read together. extra: an operator's kernel parameters.
    """

    boot: Literal["agent", "disk", "kernel"]
    inspect: bool = False
    request_id: str = ""
    extra: str = ""
    kernel: str = ""
    ramdisk: str = ""


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
#: The newest version that the agent's client knows (ironic-python-agent 13).
AGENT_API_VERSION = "1.68"


def first_script(base: str) -> str:
    """The static script that DHCP names: it asks for the machine's own one."""
    return "\n".join(
        (
            "#!ipxe",
            ":again",
            f"chain --replace {base}/boot/${{mac}} || goto failed",
            ":failed",
            "echo Ingot: the boot service does not know this machine or cannot be reached",
            "sleep 5",
            # A machine that is not ours to boot goes on to its next boot device.
            "exit 1",
            "",
        )
    )


def script(intent: Intent | None, mac: str, mode: str | None, urls: BootUrls) -> str:
    """The boot script of one machine. Without an intent it starts its own disk."""
    own = f"{urls.base}/boot/{mac}"
    chosen = intent or DISK
    if chosen.boot == "disk":
        return scripts.render_local(BootMode(mode or "uefi"))
    if chosen.boot == "kernel":
        return scripts.render_instance_kernel(
            chosen.kernel, chosen.ramdisk, {}, chosen.extra, retry_url=own
        )
    if not urls.kernel:
        return scripts.render_wait("no agent ramdisk is configured", own)
    return scripts.render_agent(
        urls.kernel, urls.ramdisk, agent_params(chosen, urls), _extra(chosen, urls), retry_url=own
    )


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


def _extra(intent: Intent, urls: BootUrls) -> str:
    """An operator's parameters; `%default%` keeps the configured ones."""
    if not intent.extra:
        return urls.params
    return intent.extra.replace("%default%", urls.params)


def intent_of(stored: Any) -> Intent | None:
    """The intent in a node's row."""
    return None if stored is None else msgspec.convert(stored, Intent)
