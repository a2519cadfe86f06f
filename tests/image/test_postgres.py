"""The same rooms on PostgreSQL: the tests that touch the most SQL, run again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres
from tests.identity import test_wire as identity
from tests.identity.cloud import Cloud, running
from tests.image import test_wire as image

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    why = postgres.missing()
    if why:
        pytest.skip(why)
    with (
        postgres.server() as server,
        running(tmp_path_factory.mktemp("cloud"), database=server.create()) as cloud,
    ):
        yield cloud


@pytest.mark.parametrize(
    "test",
    [
        identity.test_validate_and_revoke,
        identity.test_a_password_change_ends_tokens,
        identity.test_disabling_ends_tokens_for_good,
        identity.test_a_role_taken_back_counts_at_once,
        identity.test_groups_and_inheritance_give_roles,
        identity.test_application_credentials,
        identity.test_conflicts_and_guards,
        identity.test_a_domain_goes_with_all_in_it,
    ],
)
def test_identity(cloud: Cloud, test: object) -> None:
    test(cloud)  # type: ignore[operator]


def test_image(cloud: Cloud) -> None:
    admin, demo = image.Client(cloud), image.Client(cloud, "demo")
    image.test_lists(admin)
    image.test_a_tag_with_quotes_is_no_other_tag(admin)
    image.test_who_sees_what(cloud, admin, demo)
    image.test_digests_and_sizes(admin, cloud)
    image.test_patch(admin, demo)
