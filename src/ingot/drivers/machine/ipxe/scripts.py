"""Boot scripts for iPXE, as pure functions of what shall be booted.

Every value that reaches a script is checked: a newline, `;`, `&&`, `||`, `${` or a quote in a kernel
parameter or URL would let its author run iPXE commands on the machine (CVE-2026-46447). Only words
of a known-harmless alphabet pass; everything else raises BadParameter.

The scripts keep to what iPXE of 2019 knows (the ROM that QEMU ships in Debian 12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ingot.drivers.machine.types import BootMode
from ingot.kit.faults import Invalid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\Z")
WORD = re.compile(r"[A-Za-z0-9_.,:=/@%+\-\[\]?&*~!()^{}|]*\Z")
FORBIDDEN = ("&&", "||", "${", "\\", "#")
URL = re.compile(r"(https?|tftp|ftp|nfs)://[A-Za-z0-9_.,:=/@%+\-\[\]?&~]+\Z")
LONGEST_LINE = 2048  # the x86 kernel's limit for its command line

Params = Mapping[str, str | int | bool | None]


class BadParameter(Invalid):
    """A kernel parameter or URL that must not reach a boot script."""


def kernel_words(params: Params, extra: str = "") -> tuple[str, ...]:
    """Kernel parameters as checked words.

    params: name -> value; None or True gives the bare name, False leaves it out.
    extra: an operator's own parameters, separated by blanks. Raises BadParameter.
    """
    words: list[str] = []
    for name, value in params.items():
        if not NAME.match(name):
            raise BadParameter(f"kernel parameter name {name!r} is not allowed")
        if value is False:
            continue
        words.append(name if value is None or value is True else f"{name}={value}")
    if re.search(r"[\r\n\0]", extra):
        raise BadParameter("kernel parameters must be on one line")
    words += extra.split()
    for word in words:
        check_word(word)
    if len(" ".join(words)) > LONGEST_LINE:
        raise BadParameter(f"kernel parameters are longer than {LONGEST_LINE} characters")
    return tuple(words)


def check_word(word: str) -> str:
    """`word` if it may stand in a boot script; raises BadParameter."""
    if not WORD.match(word) or any(bad in word for bad in FORBIDDEN) or "|" in word:
        raise BadParameter(
            f"kernel parameter {word[:80]!r} has characters that are not allowed",
            next_action="Use letters, digits and _.,:=/@%+-[]?&*~!()^{} only.",
        )
    return word


def check_url(url: str) -> str:
    """`url` if it is a plain http, https, tftp, ftp or nfs URL; raises BadParameter."""
    if not URL.match(url) or any(bad in url for bad in FORBIDDEN):
        raise BadParameter(f"URL {url[:200]!r} must not stand in a boot script")
    return url


def render_agent(
    kernel_url: str,
    initrd_url: str,
    params: Params,
    extra: str = "",
    *,
    retry_url: str | None = None,
) -> str:
    """Boot the agent's ramdisk. `BOOTIF` is added by iPXE itself from the NIC that booted.

    retry_url: the script's own URL; after a failed download iPXE asks it again, so that a changed
    intent is obeyed. Without it the download is retried for ever.
    """
    words = kernel_words(params, extra)
    return _kernel_script(
        "agent", kernel_url, initrd_url, (*words, "BOOTIF=01-${mac:hexhyp}"), retry_url
    )


def render_instance_kernel(
    kernel_url: str,
    initrd_url: str,
    params: Params,
    extra: str = "",
    *,
    retry_url: str | None = None,
) -> str:
    """Boot an instance by its own kernel and ramdisk (deploy interface `ramdisk`)."""
    words = kernel_words(params, extra)
    return _kernel_script("instance", kernel_url, initrd_url, words, retry_url)


def render_local(boot_mode: BootMode) -> str:
    """Boot the machine's own disk.

    BIOS: iPXE starts drive 0x80 itself, which works whatever the BIOS' boot order is. UEFI: iPXE
    ends with an error, upon which the firmware goes on to its next boot entry; a success would
    stop in the firmware's menu.
    """
    if boot_mode is BootMode.BIOS:
        return _script("local disk", "sanboot --no-describe --drive 0x80 || exit 1")
    return _script("local disk", "exit 1")


def render_sanboot_iscsi(
    targets: Sequence[str], initiator_iqn: str, user: str = "", password: str = ""
) -> str:
    """Boot from iSCSI volumes, the first of which is the root.

    targets: root paths "iscsi:<ip>::<port>:<lun>:<iqn>". The script holds the CHAP password: serve
    it only to its machine.
    """
    if not targets:
        raise BadParameter("at least one iSCSI target is needed")
    lines = [f"set initiator-iqn {check_word(initiator_iqn)}"]
    if user:
        lines += [f"set username {check_word(user)}", f"set password {check_word(password)}"]
    lines += [
        f"sanhook --drive {0x80 + number:#x} {check_word(target)} || goto failed"
        for number, target in enumerate(targets)
        if number
    ]
    lines += [
        f"sanboot --drive 0x80 {check_word(targets[0])} || goto failed",
        ":failed",
        "echo Could not reach the iSCSI volume; trying again in 10 seconds",
        "sleep 10",
        "reboot",
    ]
    return _script("iSCSI volume", *lines)


def render_iso(iso_url: str) -> str:
    """Boot an ISO by HTTP (BIOS, and UEFI where the ISO can be booted from a block device)."""
    return _script(
        "ISO", f"sanboot {check_url(iso_url)} || goto failed", ":failed", "sleep 10", "reboot"
    )


def render_wait(text: str, retry_url: str, seconds: int = 10) -> str:
    """Nothing to boot yet: say so on the machine's console and ask again."""
    plain = re.sub(r"[^A-Za-z0-9 .,:_\-]", " ", text)[:200]
    return _script(
        "wait",
        f"echo {plain}",
        ":again",
        f"sleep {int(seconds)}",
        f"chain --replace {check_url(retry_url)} || goto again",
    )


def _kernel_script(
    label: str, kernel_url: str, initrd_url: str, words: Sequence[str], retry_url: str | None
) -> str:
    # initrd=<name> is what the kernel's EFI stub looks for; BIOS ignores it.
    name = f"{label}.initrd"
    again = f"chain --replace {check_url(retry_url)} || goto again" if retry_url else "goto again"
    return _script(
        label,
        ":again",
        "imgfree",
        f"kernel --name {label}.kernel {check_url(kernel_url)} initrd={name} {' '.join(words)} "
        "|| goto failed",
        f"initrd --name {name} {check_url(initrd_url)} || goto failed",
        "boot || goto failed",
        ":failed",
        "echo Could not boot; trying again in 5 seconds",
        "sleep 5",
        again,
    )


def _script(what: str, *lines: str) -> str:
    return "\n".join(("#!ipxe", f"echo Ingot: {what}", *lines)) + "\n"
