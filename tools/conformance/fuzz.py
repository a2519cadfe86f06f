"""Schemathesis over the OpenAPI documents of every service: no 500, and no reply outside the documents.

python -m tools.conformance.fuzz [SERVICE ...] [--examples N] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingot.app.build import build
from ingot.kit.api.openapi import document
from ingot.settings import load
from tools.conformance.cloud import Cloud, clean_environment, serving
from tools.conformance.environments import environment

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
SECONDS = 900
#: Streams of events, which never end.
_ENDLESS = "/stream$"
_HEADERS = {
    "X-OpenStack-Ironic-API-Version": "latest",
    "OpenStack-API-Version": "compute latest",
}


@dataclass(frozen=True)
class Finding:
    """What a service should not have answered. words: Schemathesis's own, with a command to repeat it."""

    service: str
    words: str


def documents() -> dict[str, dict[str, Any]]:
    """The newest document of every service on the API listener."""
    with tempfile.TemporaryDirectory(prefix="ingot-fuzz-") as state:
        cloud = build(load(None, {}, state=state))
        return {service.name: document(service) for service in cloud.listeners.api().services}


def run(
    cloud: Cloud,
    *,
    services: Iterable[str] = (),
    examples: int,
    seed: int,
    folder: Path,
    thorough: bool = True,
) -> list[Finding]:
    """Fuzz the services (all unless named). examples: most random cases for each operation. thorough: also
    every boundary of every parameter and member, which takes minutes."""
    program = environment("fuzz").with_name("schemathesis")
    known = _things(cloud)
    token = cloud.token({"system": {"all": True}})
    found: list[Finding] = []
    for name, told in documents().items():
        if services and name not in services:
            continue
        _point(told, known)
        who = token if name == "baremetal" else cloud.token()
        file = folder / f"openapi-{name}.json"
        file.write_text(json.dumps(told))
        words = [str(program), "run", str(file), "--url", cloud.url, "--checks", CHECKS]
        words += ["--max-examples", str(examples), "--seed", str(seed), "--workers", "1"]
        words += [
            "--phases",
            "coverage,fuzzing" if thorough else "fuzzing",
            "--no-color",
            "--continue-on-failure",
        ]
        words += ["--suppress-health-check", "all", "--warnings", "off", "--no-shrink"]
        words += ["--request-timeout", "60", "--exclude-path-regex", _ENDLESS]
        for header, value in {**_HEADERS, "X-Auth-Token": who}.items():
            words += ["-H", f"{header}:{value}"]
        done = subprocess.run(
            words,
            check=False,
            cwd=folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        (folder / f"fuzz-{name}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            found.append(
                Finding(name, _failures(done.stdout) or (done.stdout + done.stderr)[-2000:])
            )
    return found


def _failures(text: str) -> str:
    """The part of the report that tells failures."""
    match = re.search(r"=+ (?:FAILURES|ERRORS) =+\n(.*?)(?:\n=+ SUMMARY|\Z)", text, re.DOTALL)
    return match[1] if match else ""


def _things(cloud: Cloud) -> Mapping[str, list[str]]:
    """Ids of real things by the path of their collection, so that not all requests miss."""
    login = {"X-Auth-Token": cloud.token({"system": {"all": True}}), **_HEADERS}

    def make(path: str, body: Any) -> str:
        return cloud.ask("POST", f"/baremetal/v1/{path}", body, login)[0]["uuid"]

    node = make("nodes", {"driver": "fake-hardware", "name": "fuzzed"})
    port = make("ports", {"node_uuid": node, "address": "52:54:00:00:00:77"})
    return {
        "/baremetal/v1/nodes": [node, "fuzzed"],
        "/baremetal/v1/ports": [port],
        "/baremetal/v1/drivers": ["fake-hardware"],
    }


def _point(told: dict[str, Any], known: Mapping[str, list[str]]) -> None:
    """Let the first parameter of a path be a known thing, half of the time; deletions only miss."""
    for path, operations in told["paths"].items():
        names = known.get(path.partition("/{")[0])
        for method, operation in operations.items():
            in_path = [one for one in operation["parameters"] if one["in"] == "path"]
            if names and in_path and not (method == "delete" and path.count("/") == 4):
                in_path[0]["schema"] = {"type": "string", "enum": [*names, "absent"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.conformance.fuzz", description=__doc__)
    parser.add_argument("services", nargs="*")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ingot-fuzz-"))
    with serving(folder / "cloud") as cloud:
        found = run(
            cloud,
            services=wanted.services,
            examples=wanted.examples,
            seed=wanted.seed,
            folder=folder,
        )
    for finding in found:
        print(f"== {finding.service}\n{finding.words}")
    print(f"logs: {folder}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
