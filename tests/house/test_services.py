"""What must name every service says the same as the tuple of services, and old keys of settings say it too."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from ingot.app.options import needed
from ingot.app.services import SERVICES
from ingot.kit.db.database import metadata
from ingot.settings import load
from ingot.settings.tree import PolicyFiles, Services

NAMES = [one.name for one in SERVICES]


@pytest.mark.parametrize("section", [Services, PolicyFiles])
def test_settings_have_a_key_for_each_service(section: type[msgspec.Struct]) -> None:
    assert [field.name for field in msgspec.structs.fields(section)] == NAMES


def test_services_require_only_those_before_them() -> None:
    for at, one in enumerate(SERVICES):
        assert set(one.requires) <= set(NAMES[:at]), one.name


def test_no_table_belongs_to_two_services() -> None:
    owners: dict[str, str] = {}
    for one in SERVICES:
        for table in vars(one.tables).values():
            if isinstance(table, sa.Table):
                assert table.metadata is metadata
                assert owners.setdefault(table.name, one.name) == one.name
    assert set(owners.values()) == set(NAMES)


def _load(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "ingot.toml"
    file.write_text(text + '\n[baremetal]\nauth_strategy = "noauth"\n')
    return load(file, {}).services.offered


def test_the_old_key_of_services_says_what_the_new_one_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    off = "\n".join(f'[services.{name}]\nmode = "off"' for name in NAMES if name != "baremetal")
    assert _load(tmp_path, off) == ["baremetal"]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert _load(tmp_path, 'rooms = ["baremetal"]') == ["baremetal"]
    assert "[services.NAME]" in caplog.text


def test_the_old_key_of_identitys_mode_says_what_the_new_one_says(tmp_path: Path) -> None:
    more = '[identity]\nauth_url = "http://k"\npassword = "p"\n'
    file = tmp_path / "ingot.toml"
    for text in (f'{more}mode = "keystone"', f'{more}[services.identity]\nmode = "external"'):
        file.write_text(text)
        found = load(file, {})
        assert found.services.identity.mode == "external"
        assert found.services.offered == ["image", "network", "baremetal", "compute"]


def test_what_a_service_requires_is_built_with_it(tmp_path: Path) -> None:
    text = 'rooms = ["identity", "compute"]'
    file = tmp_path / "ingot.toml"
    file.write_text(text)
    assert needed(load(file, {})) == NAMES
