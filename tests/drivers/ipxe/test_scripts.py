"""Boot scripts: what they say, and that nothing hostile gets into them."""

import pytest

from ingot.drivers.machine.ipxe.scripts import (
    BadParameter,
    kernel_words,
    render_agent,
    render_instance_kernel,
    render_iso,
    render_local,
    render_sanboot_iscsi,
    render_wait,
)
from ingot.drivers.machine.types import BootMode

KERNEL, INITRD = "http://10.0.0.1:8080/kernel", "http://10.0.0.1:8080/initrd"
HOSTILE = (
    "a\nshell",
    "a\rshell",
    "a;shell",
    "a && shell",
    "a&&shell",
    "a||shell",
    "${net0/ip}",
    "a#b",
    'a"b c"',
    "a'b",
    "a\\b",
    "a`b`",
    "a\0b",
    "ä",
)


def test_agent_script() -> None:
    script = render_agent(
        KERNEL,
        INITRD,
        {"ipa-api-url": "http://10.0.0.1:6385/baremetal", "ipa-debug": 1, "nofb": True, "x": False},
        "console=ttyS0,115200 systemd.journald.forward_to_console=yes",
        retry_url="http://10.0.0.1:8080/boot/52:54:00:00:00:01",
    )
    assert script.startswith("#!ipxe\n") and script.endswith("\n")
    line = next(text for text in script.splitlines() if text.startswith("kernel "))
    assert line == (
        f"kernel --name agent.kernel {KERNEL} initrd=agent.initrd "
        "ipa-api-url=http://10.0.0.1:6385/baremetal ipa-debug=1 nofb console=ttyS0,115200 "
        "systemd.journald.forward_to_console=yes BOOTIF=01-${mac:hexhyp} || goto failed"
    )
    assert f"initrd --name agent.initrd {INITRD} || goto failed" in script
    assert "chain --replace http://10.0.0.1:8080/boot/52:54:00:00:00:01 || goto again" in script


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_parameters_are_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        kernel_words({"name": text})
    with pytest.raises(BadParameter):
        kernel_words({text: "value"})
    if text != "a && shell":  # blanks separate words; the bare && is refused below
        with pytest.raises(BadParameter):
            render_agent(KERNEL, INITRD, {}, text)
    with pytest.raises(BadParameter):
        render_agent(f"http://10.0.0.1/{text}", INITRD, {})
    with pytest.raises(BadParameter):
        render_iso(f"http://10.0.0.1/{text}")
    with pytest.raises(BadParameter):
        render_sanboot_iscsi([f"iscsi:10.0.0.1::3260:1:{text}"], "iqn.2026-01.org.ingot:a")


def test_separators_between_blanks_are_refused() -> None:
    for text in ("a && shell", "a ; shell", "a || shell"):
        with pytest.raises(BadParameter):
            kernel_words({}, text)


def test_only_urls_of_known_schemes() -> None:
    for url in ("file:///etc/passwd", "/kernel", "http://", "javascript:x", "http://h/ a"):
        with pytest.raises(BadParameter):
            render_instance_kernel(url, INITRD, {})


def test_too_long_for_the_kernel() -> None:
    with pytest.raises(BadParameter, match="2048"):
        kernel_words({}, "x" * 3000)


def test_others() -> None:
    assert "sanboot --no-describe --drive 0x80 || exit 1" in render_local(BootMode.BIOS)
    assert render_local(BootMode.UEFI).splitlines()[-1] == "exit 1"
    script = render_sanboot_iscsi(
        ["iscsi:10.0.0.9::3260:1:iqn.a:root", "iscsi:10.0.0.9::3260:2:iqn.a:data"],
        "iqn.2026-01.org.ingot:n1",
        "user",
        "chap-secret",
    )
    assert "sanhook --drive 0x81 iscsi:10.0.0.9::3260:2:iqn.a:data || goto failed" in script
    assert "sanboot --drive 0x80 iscsi:10.0.0.9::3260:1:iqn.a:root || goto failed" in script
    waiting = render_wait("no intent; ${evil}\nshell", "http://10.0.0.1/boot/x")
    assert "${" not in waiting and "\nshell" not in waiting
