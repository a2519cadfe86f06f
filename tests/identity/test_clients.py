"""The Identity API judged by the stock `openstack` command and openstacksdk."""

from __future__ import annotations

import json
import os
import stat

import openstack
import pytest
from keystoneauth1.exceptions import Unauthorized

from tests.identity.cloud import Cloud

pytestmark = pytest.mark.clients


def test_tokens_and_catalogue(cloud: Cloud) -> None:
    for name in ("ingot", "ingot-system", "ingot-demo"):
        issued = json.loads(cloud.ok("token", "issue", "-f", "json", cloud=name))
        assert len(issued["id"]) < 255
    listed = json.loads(cloud.ok("catalog", "list", "-f", "json"))
    assert {item["Type"] for item in listed} == {"identity", "image"}
    assert stat.S_IMODE(os.stat(cloud.state / "clouds.yaml").st_mode) == 0o600


def test_people_places_and_roles(cloud: Cloud) -> None:
    cloud.ok("project", "create", "lab", "--description", "for tests")
    cloud.ok("user", "create", "ann", "--project", "lab", "--password", "pw", "--email", "a@b.c")
    cloud.ok("role", "add", "--user", "ann", "--project", "lab", "member")
    found = json.loads(cloud.ok("role", "assignment", "list", "--names", "-f", "json"))
    assert {"Role": "member", "User": "ann@Default", "Project": "lab@Default"}.items() <= next(
        item for item in found if item["User"] == "ann@Default"
    ).items()
    assert json.loads(cloud.ok("user", "show", "ann", "-f", "json"))["email"] == "a@b.c"
    ann = {
        "OS_AUTH_URL": f"{cloud.url}/identity",
        "OS_USERNAME": "ann",
        "OS_PASSWORD": "pw",
        "OS_PROJECT_NAME": "lab",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }
    done = cloud.client("project", "list", "-f", "value", "-c", "Name", env=ann)
    assert done.stdout.split() == ["lab"], done.stderr
    wrong = cloud.client("token", "issue", env={**ann, "OS_PASSWORD": "no"})
    assert wrong.returncode != 0
    assert "401" in wrong.stderr
    cloud.ok("user", "delete", "ann")
    cloud.ok("project", "delete", "lab")


def test_application_credential_by_the_sdk(cloud: Cloud) -> None:
    made = json.loads(
        cloud.ok("application", "credential", "create", "robot", "-f", "json", cloud="ingot-demo")
    )
    made = {key.lower(): value for key, value in made.items()}
    connection = openstack.connection.Connection(
        auth_type="v3applicationcredential",
        auth={
            "auth_url": f"{cloud.url}/identity",
            "application_credential_id": made["id"],
            "application_credential_secret": made["secret"],
        },
        region_name="RegionOne",
    )
    assert connection.current_project_id == cloud.bootstrap.demo_project_id
    assert [
        item.name for item in connection.identity.user_projects(connection.current_user_id)
    ] == ["demo"]
    cloud.ok("application", "credential", "delete", "robot", cloud="ingot-demo")
    with pytest.raises(Unauthorized):
        list(connection.image.images())
