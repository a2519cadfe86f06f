"""Boot scripts as functions of the intent."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.services.baremetal.boot.plan import (
    DISK,
    BootUrls,
    Intent,
    agent_params,
    intent_of,
    script,
)

URLS = BootUrls("http://10.0.0.1:8080", "http://10.0.0.1:8080/k", "http://10.0.0.1:8080/r", "quiet")
MAC = "52:54:00:00:00:01"


@pytest.mark.parametrize("intent", [None, DISK])
@pytest.mark.parametrize("mode", [None, "bios", "uefi"])
def test_without_an_order_the_disk_starts(intent: Intent | None, mode: str | None) -> None:
    text = script(intent, MAC, mode, URLS)
    assert text.startswith("#!ipxe")
    assert URLS.kernel not in text


def test_the_agent_is_told_where_and_in_which_version_to_call() -> None:
    text = script(Intent(boot="agent", request_id="req-1"), MAC, "uefi", URLS)
    assert URLS.kernel in text
    assert "ipa-api-url=http://10.0.0.1:8080" in text
    # Left to find out by itself, it may serve without TLS.
    assert "ipa-ironic-api-version=1.68" in text
    assert "req-1" in text
    assert "ipa-inspection-callback-url" not in text


def test_inspection_and_extra_parameters() -> None:
    intent = Intent(boot="agent", inspect=True, extra="%default% console=ttyS1")
    params = agent_params(intent, URLS)
    assert params["ipa-inspection-callback-url"] == f"{URLS.base}/v1/continue_inspection"
    assert "quiet console=ttyS1" in script(intent, MAC, "bios", URLS)


def test_without_a_ramdisk_the_machine_waits_and_says_why() -> None:
    text = script(Intent(boot="agent"), MAC, "uefi", BootUrls(URLS.base, "", ""))
    assert "no agent ramdisk is configured" in text


@given(st.builds(Intent, boot=st.sampled_from(["agent", "disk", "kernel"]), inspect=st.booleans()))
def test_an_intent_survives_its_row(intent: Intent) -> None:
    assert intent_of(msgspec.to_builtins(intent)) == intent
