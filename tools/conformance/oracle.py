"""What Ironic 39's own code says of requests and replies, as data."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tools.conformance.cloud import clean_environment
from tools.conformance.environments import CACHE, Unavailable, environment

SCRIPT = Path(__file__).with_name("upstream.py")


def package() -> Path:
    """The folder of Ironic's package, to be read. Raises Unavailable when it cannot be installed."""
    (found,) = environment("ironic").parents[1].glob("lib/python*/site-packages/ironic")
    return found


def facts() -> dict[str, Any]:
    """See upstream.py for the shape. Raises Unavailable when Ironic cannot be installed."""
    python = environment("ironic")
    spelled = SCRIPT.read_bytes() + str(python).encode()
    file = CACHE / f"facts-{hashlib.sha256(spelled).hexdigest()[:12]}.json"
    if not file.exists():
        part = file.with_suffix(".part")
        done = subprocess.run(
            [str(python), str(SCRIPT), str(part)],
            check=False,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            raise Unavailable(f"Ironic's own code does not load: {done.stderr[-800:]}")
        part.rename(file)
    return json.loads(file.read_text())
