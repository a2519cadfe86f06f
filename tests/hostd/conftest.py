"""A wire for DHCP tests; needs root, `ip`, dnsmasq and busybox."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from .wire import Machine, Wire, inside


@pytest.fixture
def wire() -> Iterator[Wire]:
    missing = [name for name in ("ip", "dnsmasq", "busybox", "setpriv") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {missing or 'its tools'}")
    made = Wire.up()
    try:
        with inside(made.server_ns):
            yield made
    finally:
        made.down()


@pytest.fixture
def machine(wire: Wire) -> Iterator[Machine]:
    made = Machine(wire)
    yield made
    made.close()
