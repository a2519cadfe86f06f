"""Every place that opens a connection to somebody is known, and why whoever is asked there may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "ingot"

#: Calls that reach others, by the last parts of their names.
_CALLS = frozenset(
    {
        "ClientSession",
        "TCPConnector",
        "UnixConnector",
        "create_connection",
        "create_datagram_endpoint",
        "create_subprocess_exec",
        "create_subprocess_shell",
        "open_connection",
        "open_unix_connection",
        "sendto",
        "sock_connect",
        "urlopen",
        "urlretrieve",
    }
)
#: What people start by themselves, for themselves.
_TOOLS = ("builders", "cli", "lab")
KNOWN = {
    "services/baremetal/consoles/peers.py": {"ClientSession": "controllers of the same cluster"},
    "services/baremetal/inspection/rules/api_call.py": {
        "TCPConnector": "hosts that a system administrator's rule names"
    },
    "drivers/machine/ipmi/console.py": {
        "create_subprocess_exec": "ipmitool, at an address found by egress"
    },
    "drivers/machine/ipmi/probe.py": {
        "create_datagram_endpoint": "an address found by egress",
        "sendto": "the same",
    },
    "drivers/machine/ipmi/session.py": {
        "create_datagram_endpoint": "an address found by egress",
        "sendto": "the same",
    },
    "drivers/machine/ipmi/tool.py": {
        "create_subprocess_exec": "ipmitool, at an address found by egress"
    },
    "drivers/machine/vmedia/store.py": {"TCPConnector": "this cloud's own provisioning listener"},
    "agents/dhcp/advertiser.py": {"sendto": "answers on the provisioning wire"},
    "agents/dhcp/dnsmasq/release.py": {"sendto": "our own dnsmasq"},
    "agents/dhcp/dnsmasq/server.py": {"create_subprocess_exec": "our own dnsmasq"},
    "services/image/convert.py": {"create_subprocess_exec": "qemu-img on inspected files"},
    "kit/http/egress.py": {"TCPConnector": "what judges"},
    "kit/http/client.py": {"ClientSession": "with the connector of its caller"},
}


def _calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            yield function.id if isinstance(function, ast.Name) else name


def test_no_connection_is_opened_elsewhere() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE)
        if name.parts[0] not in _TOOLS and (calls := _CALLS & set(_calls(path))):
            found[str(name)] = set(calls)
    assert found == {name: set(calls) for name, calls in KNOWN.items()}, (
        "Who asks somebody asks by kit.http.egress and kit.http.client, or says here why it need not."
    )


#: Sessions with aiohttp's own connector: the operator named whom they ask, and no redirect is followed.
NAMED_BY_THE_OPERATOR = {
    "app/auditsinks.py": "[audit] webhook",
    "app/nova.py": "[nova] url and auth_url",
    "services/identity/outside.py": "[identity] auth_url",
}


def test_sessions_without_a_connector_of_egress_are_known() -> None:
    open_to_all: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "http_client.session":
                continue
            if not any(word.arg == "connector" for word in node.keywords):
                open_to_all.add(str(path.relative_to(SOURCE)))
    assert open_to_all == set(NAMED_BY_THE_OPERATOR)
