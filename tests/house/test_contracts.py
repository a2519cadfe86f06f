"""A contract of imports that forgets a service, or has them in another order, is found."""

from __future__ import annotations

from typing import Any

import pytest

from tools.house.contracts import missing

SERVICES = ("one", "two")
GOOD: list[dict[str, Any]] = [
    {
        "name": "floors: in order",
        "type": "layers",
        "layers": ["ingot.app", "ingot.services.two", "ingot.services.one", "ingot.kit"],
    },
    {
        "name": "no settings",
        "type": "forbidden",
        "source_modules": ["ingot.kit", "ingot.services.one", "ingot.services.two"],
        "forbidden_modules": ["ingot.settings"],
    },
    *(
        {
            "name": f"tables: {name}",
            "type": "protected",
            "protected_modules": [f"ingot.services.{name}.tables"],
        }
        for name in SERVICES
    ),
]


def _keys(found: list[dict[str, Any]]) -> list[str]:
    return [finding.key for finding in missing(found, SERVICES)]


def test_contracts_that_name_all_services_are_good() -> None:
    assert _keys(GOOD) == []


@pytest.mark.parametrize(
    ("at", "change", "key"),
    [
        (0, {"layers": ["ingot.services.one", "ingot.services.two"]}, "floors:layers"),
        (1, {"source_modules": ["ingot.kit", "ingot.services.two"]}, "no-settings:source_modules"),
        (3, {"protected_modules": ["ingot.workflow.tables"]}, "protected:two"),
    ],
)
def test_what_a_contract_forgets_is_found(at: int, change: dict[str, Any], key: str) -> None:
    changed = [{**one, **(change if number == at else {})} for number, one in enumerate(GOOD)]
    assert _keys(changed) == [key]
