"""No text makes a line of its own in dnsmasq's files, wherever it comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.agents.dhcp.dnsmasq.config import host_file, is_plain, render
from ingot.agents.dhcp.dnsmasq.hosts import HostFiles
from ingot.agents.dhcp.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange

COMMAND = "y\nconf-script=id -un >pwned;true\n#"
FOLDER = Path("/srv/dhcp/wire")

GOOD = DhcpRange("192.0.2.0/24", router="192.0.2.254", dns=("192.0.2.53",), domain="lab")
PLAN = DhcpPlan(
    name="wire",
    generation=1,
    interface="srv0",
    listen="192.0.2.1",
    ranges=(GOOD,),
    hosts=(),
    boot=DhcpBoot("http://192.0.2.1/boot.ipxe", "http://192.0.2.1/loaders", {"bios": "a.kpxe"}),
)

#: What a text may try: lines of their own, further values, words of dnsmasq, addresses that are almost right.
texts = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                "\n",
                "\r",
                "\0",
                "\x85",
                "\u2028",
                ",",
                " ",
                "#",
                "%",
                "192.0.2.9",
                "10.0.0.0/8",
                "fe80::1",
                "conf-script=x",
                "dhcp-option=3,192.0.2.66",
            ]
        ),
        max_size=5,
    ).map("".join),
)


def _ranges(**changes: object) -> DhcpPlan:
    return replace(PLAN, ranges=(replace(GOOD, **changes),))


def test_a_line_break_in_an_address_is_left_out() -> None:
    bad = f"fe80::1%{COMMAND}"
    plain = render(_ranges(router=None, dns=()), FOLDER)
    assert render(_ranges(router=bad, dns=(bad,), routes=(("10.0.0.0/8", bad),)), FOLDER) == plain
    assert render(_ranges(router=None, dns=(), routes=((bad, "192.0.2.9"),)), FOLDER) == plain


def test_what_is_right_beside_it_stays() -> None:
    found = render(_ranges(dns=("192.0.2.53", "2001:db8::53", "192.0.2.54,\n")), FOLDER)
    assert found == render(PLAN, FOLDER)
    routes = (("10.0.0.0/8", "192.0.2.9"), ("2001:db8::/32", "fe80::1"), ("10.0.0.0/8", "fe80::1"))
    assert "option:classless-static-route,10.0.0.0/8,192.0.2.9,0.0.0.0/0,192.0.2.254\n" in render(
        _ranges(routes=routes), FOLDER
    )


def test_a_setting_makes_no_second_line() -> None:
    boot = DhcpBoot(f"http://192.0.2.1/{COMMAND}", "http://192.0.2.1", {"bios": COMMAND})
    found = render(replace(PLAN, boot=boot), FOLDER)
    assert "conf-script" not in found and "\ninterface=srv0\n" in found


@settings(deadline=None, max_examples=200)
@given(texts, texts, texts, texts, texts)
def test_no_text_makes_a_line(router: str, dns: str, to: str, hop: str, domain: str) -> None:
    plan = _ranges(router=router, dns=(dns,), routes=((to, hop),), domain=domain)
    usual = {line.partition("=")[0] for line in render(PLAN, FOLDER).splitlines()}
    lines = render(plan, FOLDER).splitlines()
    assert {line.partition("=")[0] for line in lines} <= usual
    # Never more lines than all good values make: at most a domain and routes beside router and servers.
    assert len(lines) <= len(render(PLAN, FOLDER).splitlines()) + 1


@settings(deadline=None, max_examples=200)
@given(texts, texts, texts, texts)
def test_a_hosts_file_is_one_line_in_its_folder(mac: str, ip: str, hostname: str, tag: str) -> None:
    host = DhcpHost(mac=mac, ip=ip, hostname=hostname, tags=(tag,))
    for one in (host, replace(host, mac="52:54:00:00:00:01", ip="192.0.2.9", tags=())):
        if is_plain(one):
            name, content = host_file(one)
            assert len(content.splitlines()) == 1 and " " not in content
            assert "/" not in name and content.count(",") <= 2 + len(one.tags)


def test_a_host_that_is_none_has_no_file(tmp_path: Path) -> None:
    good = DhcpHost("52:54:00:00:00:01", "192.0.2.9")
    bad = [
        DhcpHost("52:54:00:00:00:02", f"fe80::1%{COMMAND}"),
        DhcpHost("../../52:54", "192.0.2.10"),
        DhcpHost("52:54:00:00:00:03\n", "192.0.2.11"),
        DhcpHost("52:54:00:00:00:04", "192.0.2.12", tags=("a,b",)),
    ]
    files = HostFiles(tmp_path / "hosts")
    made = files.become([good, *bad])
    assert len(made.new) == 1 and len(files) == 1
    assert [p.read_text() for p in (tmp_path / "hosts").iterdir()] == [
        "52:54:00:00:00:01,192.0.2.9\n"
    ]
    assert files.change([], bad).gone == []
