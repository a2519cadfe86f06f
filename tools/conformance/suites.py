"""The suites: how each is told about the cloud, run, and what came of every test."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.conformance.cloud import FLAVOR, IMAGE, NETWORK, PASSWORD, Cloud, clean_environment
from tools.conformance.environments import environment

JUDGE = Path(__file__).with_name("judge.py")
SECONDS = 3600


@dataclass(frozen=True)
class Outcome:
    """What came of one test. outcome: "pass", "fail" or "skip"; text: the traceback or the reason."""

    test: str
    outcome: str
    text: str
    took: float


@dataclass(frozen=True)
class Suite:
    """configure: writes its files, gives its environment variables. requirements: the name of its list of packages."""

    name: str
    package: str
    configure: Callable[[Cloud], Mapping[str, str]]
    requirements: str


def configure_tempest(cloud: Cloud) -> Mapping[str, str]:
    file = cloud.folder / "tempest.conf"
    file.write_text(
        TEMPEST.format(url=cloud.url, folder=cloud.folder, password=PASSWORD, network=NETWORK)
    )
    return {"TEMPEST_CONFIG": file.name, "TEMPEST_CONFIG_DIR": str(cloud.folder)}


def configure_library(cloud: Cloud) -> Mapping[str, str]:
    return {
        "OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml),
        "OS_CLOUD": "ingot",
        "OPENSTACKSDK_OPERATOR_CLOUD": "ingot",
        "OPENSTACKSDK_SYSTEM_ADMIN_CLOUD": "ingot-system",
        "OPENSTACKSDK_DEMO_CLOUD": "ingot-demo",
        "OPENSTACKSDK_DEMO_CLOUD_ALT": "ingot-demo",
        "OPENSTACKSDK_IMAGE": IMAGE,
        "OPENSTACKSDK_FLAVOR": FLAVOR,
        "OPENSTACKSDK_FUNC_TEST_TIMEOUT": "60",
        # Five seconds unless said otherwise: made for tests that ask nobody.
        "OS_TEST_TIMEOUT": "120",
    }


SUITES = {
    suite.name: suite
    for suite in (
        Suite("tempest", "ironic_tempest_plugin.tests.api", configure_tempest, "tempest"),
        Suite("sdk", "openstack.tests.functional.baremetal", configure_library, "sdk"),
        Suite("identity", "tempest.api.identity", configure_tempest, "tempest"),
        Suite("sdk-identity", "openstack.tests.functional.identity", configure_library, "sdk"),
    )
}


def run(
    suite: Suite,
    cloud: Cloud,
    *,
    only: Collection[str] | None = None,
    word: str = "",
    processes: int = 2,
) -> list[Outcome]:
    """Run a suite against a cloud; what came of each test, by name.

    only: the names of some tests. word: a part of the names of some.

    Raises Unavailable when its environment cannot be had, RuntimeError when it did not run to its end.
    """
    python = environment(suite.requirements)
    variables = clean_environment(**suite.configure(cloud))
    wanted = cloud.folder / f"{suite.name}.only"
    wanted.write_text("\n".join(only or ()))
    children: list[subprocess.Popen[bytes]] = []
    results = [cloud.folder / f"{suite.name}.{share}.json" for share in range(processes)]
    for share, file in enumerate(results):
        words = [str(python), str(JUDGE), suite.package, str(share), str(processes), str(file)]
        with file.with_suffix(".log").open("wb") as log:
            children.append(
                subprocess.Popen(
                    [*words, word, str(wanted)],
                    cwd=cloud.folder,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    _finish(children)
    found: list[Outcome] = []
    for file in results:
        found += _read(file)
    return sorted(found, key=lambda outcome: outcome.test)


def _finish(children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + SECONDS
    try:
        for child in children:
            child.wait(max(1, deadline - time.monotonic()))
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def _read(file: Path) -> list[Outcome]:
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not rows or "done" not in rows[-1]:
        words = file.with_suffix(".log").read_text(errors="replace")
        raise RuntimeError(f"{file.stem} did not run to its end:\n{words[-3000:]}")
    # What befalls a class in the end is told after its tests, and counts more.
    return list({row["test"]: Outcome(**row) for row in rows[:-1]}.values())


TEMPEST = """\
[DEFAULT]
log_file = {folder}/tempest.log
[auth]
use_dynamic_credentials = true
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
admin_system = all
create_isolated_networks = false
[identity]
uri_v3 = {url}/identity/v3
auth_version = v3
region = RegionOne
v3_endpoint_type = public
[identity-feature-enabled]
application_credentials = true
access_rules = false
security_compliance = false
domain_specific_drivers = false
project_tags = true
[service_available]
ironic = true
nova = false
neutron = true
glance = false
cinder = false
swift = false
[enforce_scope]
ironic = true
[compute]
fixed_network_name = {network}
[network]
shared_physical_network = true
[baremetal]
driver = fake-hardware
min_microversion = 1.1
max_microversion = latest
power_timeout = 60
active_timeout = 120
unprovision_timeout = 120
inspect_timeout = 60
enabled_hardware_types = fake-hardware,ipmi,redfish,manual-management
enabled_bios_interfaces = fake,no-bios
enabled_boot_interfaces = fake,ipxe
enabled_console_interfaces = fake,no-console
enabled_deploy_interfaces = fake,direct
enabled_inspect_interfaces = fake,no-inspect
enabled_management_interfaces = fake,ipmitool,noop
enabled_power_interfaces = fake,ipmitool
enabled_raid_interfaces = fake,no-raid
enabled_rescue_interfaces = fake,no-rescue
[oslo_concurrency]
lock_path = {folder}
"""
