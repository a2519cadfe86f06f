"""What a server's first boot is told: the documents of its config drive. Pure.

Shapes: the OpenStack metadata formats 2018-08-27, as cloud-init's ConfigDrive source reads them.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ingot.services.compute import userdata
from ingot.services.compute.types import Secrets, Server


def documents(
    server: Server, secrets: Secrets, network_data: dict[str, Any], domain: str = ""
) -> dict[str, Any]:
    """{meta_data, network_data, user_data, vendor_data, files} for `prepare`."""
    found: dict[str, Any] = {
        "meta_data": meta_data(server, secrets, domain),
        "network_data": network_data,
        "vendor_data": {},
        "vendor_data2": {},
    }
    if secrets.user_data:
        found["user_data"] = userdata.plain(secrets.user_data)
    if secrets.files:
        found["files"] = secrets.files
        places = [
            {"content_path": f"/content/{n:04d}", "path": file["path"]}
            for n, file in enumerate(secrets.files)
        ]
        found["meta_data"]["files"] = places
    return found


def meta_data(server: Server, secrets: Secrets, domain: str = "") -> dict[str, Any]:
    """meta_data.json. The seed of randomness is the same at every writing of one server's drive."""
    hostname = f"{server.hostname}.{domain}" if domain else server.hostname
    found: dict[str, Any] = {
        "uuid": server.uuid,
        "name": server.name,
        "hostname": hostname,
        "launch_index": server.launch_index,
        "availability_zone": server.availability_zone,
        "project_id": server.project_id,
        "random_seed": _seed(server, secrets),
        "devices": [],
        "dedicated_cpus": [],
    }
    if server.metadata:
        found["meta"] = server.metadata
    if server.key is not None:
        found["public_keys"] = {server.key.name: server.key.public_key}
        found["keys"] = [
            {"name": server.key.name, "type": server.key.type, "data": server.key.public_key}
        ]
    if secrets.admin_pass:
        found["admin_pass"] = secrets.admin_pass
    return found


def _seed(server: Server, secrets: Secrets) -> str:
    # Derived from the password, which nobody else knows, so that a repeated step writes the same drive.
    block = hashlib.shake_256(f"{server.uuid}:{secrets.admin_pass}".encode()).digest(512)
    return base64.b64encode(block).decode()
