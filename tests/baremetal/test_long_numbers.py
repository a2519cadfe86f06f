"""Numbers of thousands of digits, which Python refuses to read, are no numbers to us either."""

from __future__ import annotations

import pytest

from ingot.kit.faults import Invalid
from ingot.services.baremetal.nodes import patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation

LONG = "9" * 5000


@pytest.mark.parametrize("op", ["add", "replace", "remove"])
def test_an_index_of_a_patch(op: str) -> None:
    for path in (f"/extra/l/{LONG}", f"/extra/l/{LONG}/x"):
        change = PatchOperation(op, path, 1)  # type: ignore[arg-type]
        with pytest.raises(Invalid):
            patching.apply({"extra": {"l": [1, 2]}}, [change])


def test_a_steps_place() -> None:
    step = {"interface": "deploy", "step": "erase_devices", "args": {}}
    for kind, name in (("deploy", "priority"), ("clean", "order"), ("service", "order")):
        assert schemas.steps(kind, [step | {name: "20"}])
        with pytest.raises(Invalid):
            schemas.steps(kind, [step | {name: LONG}])
