"""JSON patches, judged by the `jsonpatch` package."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.kit.faults import Invalid
from ingot.services.baremetal.nodes import patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation

KEYS = ["a", "b", "c", "0", "1", "x/y", "m~n"]
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "t", "0"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)


def pointer(tokens: list[str]) -> str:
    return "".join("/" + t.replace("~", "~0").replace("/", "~1") for t in tokens)


tokens = st.sampled_from([*KEYS, "-", "2", "01", "-1"])
changes = st.builds(
    lambda op, path, value: PatchOperation(op, pointer(path), value),
    st.sampled_from(["add", "replace", "remove"]),
    st.lists(tokens, min_size=1, max_size=3),
    values,
)


def judged(document: Any, patch: list[PatchOperation]) -> Any:
    """What the judge makes of it; None when it refuses."""
    result = copy.deepcopy(document)
    for change in patch:
        operation: dict[str, Any] = {"op": change.op, "path": change.path}
        if change.op != "remove":
            operation["value"] = copy.deepcopy(change.value)
        try:
            result = jsonpatch.apply_patch(result, [operation])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
            return None
    return result


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, st.lists(changes, max_size=4))
def test_same_as_the_judge(document: dict[str, Any], patch: list[PatchOperation]) -> None:
    before = copy.deepcopy(document)
    wanted = judged(document, patch)
    try:
        result = patching.apply(document, patch)
    except Invalid:
        result = None
    assert result == wanted
    assert document == before


@pytest.mark.parametrize(
    "body",
    [
        {"op": "add", "path": "/a", "value": 1},
        [{"op": "move", "path": "/a", "from": "/b"}],
        [{"op": "add", "value": 1}],
        [{"op": "add", "path": "/a", "value": 1, "more": 2}],
        ["add"],
    ],
)
def test_bodies_that_are_no_patch(body: Any) -> None:
    with pytest.raises(Invalid):
        schemas.patch(body)


@pytest.mark.parametrize("path", ["", "a", "/", "/a/", "//a", "/a b"])
def test_paths_that_are_no_pointers(path: str) -> None:
    with pytest.raises(Invalid):
        patching.checked([PatchOperation("remove", path)], 90)


def test_escapes_only_where_they_are_known() -> None:
    change = [PatchOperation("add", "/extra/a~1b", 1)]
    patching.checked(change, 98)
    with pytest.raises(Invalid):
        patching.checked(change, 97)
    assert patching.apply({"extra": {}}, change) == {"extra": {"a/b": 1}}


def test_a_value_is_needed() -> None:
    with pytest.raises(Invalid):
        patching.checked([PatchOperation("add", "/extra/a")], 115)
