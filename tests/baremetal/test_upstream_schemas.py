"""Requests and replies at every microversion, against the schemas that Ironic's own package carries.

The table of operations says what there is, Ironic 39 (installed by uv from the package index into an
environment of its own) what it must look like.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from api_support import World, world
from examples import BODIES, Made, furnish

from ingot.kit.api.operations import Operation
from ingot.kit.db.database import to_json
from ingot.kit.ids import is_uuid, normal_mac
from ingot.services.baremetal import tables
from ingot.workflow.tables import conductors
from tools.conformance import oracle
from tools.conformance.environments import Unavailable

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
Schemas = list[list[Any]]
NEWEST = 115
#: Where we take more than upstream's schema, because upstream's own command line sends it: no conditions as
#: an empty object, numbers as texts.
LENIENT = {"POST /v1/inspection_rules": ("conditions", "priority")}

checker = jsonschema.FormatChecker()
checker.checks("uuid", ())(lambda value: not isinstance(value, str) or is_uuid(value))
checker.checks("mac-address", ())(
    lambda value: not isinstance(value, str) or normal_mac(value) is not None
)


@checker.checks("date-time", ValueError)
def is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value) is not None


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    try:
        return oracle.facts()
    except Unavailable as reason:
        pytest.skip(f"Ironic, the judge, cannot be had: {reason}")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def operations(api: World) -> dict[str, Operation]:
    """ "METHOD path", parameters without names -> its row."""
    rows = api.app.services[0].operations
    return {f"{row.method} {re.sub('{[^}]*}', '{}', row.path)}": row for row in rows}


def boundaries(rows: Mapping[str, Operation], facts: dict[str, Any]) -> list[int]:
    """Every minor version that may be the first or last of something."""
    found = {1, NEWEST}
    for row in rows.values():
        found |= {row.since, row.since - 1, row.until or NEWEST}
    for kinds in facts["routes"].values():
        for schemas in kinds.values():
            for first, last, _ in schemas:
                found |= {first, first - 1, last or NEWEST}
    for by_minor in facts["hidden"].values():
        last = None
        for minor, names in by_minor.items():
            if names != last:
                found |= {int(minor), int(minor) - 1}
            last = names
    return sorted(minor for minor in found if 1 <= minor <= NEWEST)


def schema_at(schemas: Schemas, minor: int) -> Any:
    for first, last, schema in schemas:
        if first <= minor <= (last or NEWEST):
            return schema
    return None


def complaints(
    schema: Any, document: Any, draft: Any = jsonschema.Draft202012Validator
) -> list[str]:
    validator = draft(schema, format_checker=checker)
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(document)
    ]


def objections(schema: Any, body: Any) -> list[str]:
    """Of a request's body; upstream reads schemas of requests as the older draft."""
    return complaints(schema, body, jsonschema.Draft4Validator)


def address(path: str, made: Made) -> str:
    """A path with what is in the world in place of its parameters."""
    if path.startswith("/v1/drivers/"):
        found = path.replace("{name}", "fake-hardware")
    elif path.startswith("/v1/conductors/"):
        found = path.replace("{host}", "host-1")
    else:
        collection = path.partition("/{")[0]
        found = path.replace("{id}", made.get(collection, "none"))
    others = {"trait": "CUSTOM_A", "setting": "virtualization", "device": "vda", "vif": "v"}
    return re.sub("{([^}]*)}", lambda match: others.get(match[1], "none"), found)


async def test_every_route_that_upstream_describes_is_here(
    api: World, facts: dict[str, Any]
) -> None:
    missing = set(facts["routes"]) - set(operations(api))
    assert not missing, f"upstream has {sorted(missing)}"


async def test_replies(api: World, facts: dict[str, Any]) -> None:
    """Every GET that upstream has a schema for, at every microversion at which anything changes."""
    made = await furnish(api)
    await _fill(api, made["/v1/nodes"])
    rows = operations(api)
    wrong: list[str] = []
    checked: set[str] = set()
    for minor in boundaries(rows, facts):
        for name, row in rows.items():
            schemas = facts["routes"].get(name, {}).get("reply")
            if row.method != "GET" or not schemas:
                continue
            path = address(row.path, made)
            reply = await api.ask("GET", path, version=f"1.{minor}")
            schema = schema_at(schemas, minor)
            visible = row.since <= minor <= (row.until or NEWEST)
            if not visible or schema is None:
                if reply.status < 400 and not visible:
                    wrong.append(f"{name} at 1.{minor}: {reply.status}, it is not there yet")
                continue
            if reply.status != 200:
                wrong.append(f"{name} at 1.{minor}: {reply.status} {reply.json}")
                continue
            checked.add(name)
            wrong += [f"{name} at 1.{minor}: {text}" for text in complaints(schema, reply.json)]
    assert not wrong, "\n".join(wrong[:40])
    described = {
        name
        for name, kinds in facts["routes"].items()
        if name.startswith("GET ") and "reply" in kinds and name in rows
    }
    assert checked == described


async def test_replies_of_changes(api: World, facts: dict[str, Any]) -> None:
    """What POST and PATCH answer, at every boundary."""
    made = await furnish(api)
    rows = operations(api)
    wrong: list[str] = []
    for minor in boundaries(rows, facts):
        for path, body in BODIES.items():
            name = f"POST {path}"
            schemas = facts["routes"].get(name, {}).get("reply")
            if not schemas or name not in rows or not rows[name].since <= minor:
                continue
            accepted = schema_at(facts["routes"][name]["body"], minor)["properties"]
            given = {key: value for key, value in body(made).items() if key in accepted}
            reply = await api.ask("POST", path, given, f"1.{minor}")
            if reply.status in (400, 406) and minor < NEWEST:
                continue  # a field of the example is newer; which, the requests' test tells
            if reply.status != 201:
                wrong.append(f"{name} at 1.{minor}: {reply.status} {reply.json}")
                continue
            texts = complaints(schema_at(schemas, minor), reply.json)
            wrong += [f"{name} at 1.{minor}: {text}" for text in texts]
            patch = f"PATCH {path}/{{}}"
            if patch in rows and rows[patch].since <= minor:
                change = [{"op": "add", "path": "/extra/b", "value": 2}]
                target = f"{path}/{reply.json['uuid']}"
                changed = await api.ask("PATCH", target, change, f"1.{minor}")
                schema = schema_at(facts["routes"][patch].get("reply", [[0, None, {}]]), minor)
                if changed.status != 200:
                    wrong.append(f"{patch} at 1.{minor}: {changed.status} {changed.json}")
                    continue
                texts = complaints(schema, changed.json)
                wrong += [f"{patch} at 1.{minor}: {text}" for text in texts]
    assert not wrong, "\n".join(wrong[:40])


async def test_fields_by_version(api: World, facts: dict[str, Any]) -> None:
    """What upstream hides from older clients, and nothing else, is hidden."""
    made = await furnish(api)
    rows = operations(api)
    wrong: list[str] = []
    for resource, by_minor in facts["hidden"].items():
        row = rows.get(f"GET /v1/{resource}/{{}}")
        if row is None:
            continue
        path = address(row.path, made)
        newest = set((await api.ask("GET", path)).json)
        assert set(by_minor[str(NEWEST)]) & newest == set()
        for minor in range(max(row.since, 1), NEWEST + 1):
            shown = set((await api.ask("GET", path, version=f"1.{minor}")).json)
            wanted = newest - set(by_minor[str(minor)]) - _links_after(resource, minor)
            if shown != wanted:
                wrong.append(f"{resource} at 1.{minor}: {sorted(shown ^ wanted)}")
    assert not wrong, "\n".join(wrong)


def _links_after(resource: str, minor: int) -> set[str]:
    """Links to below a node came with what they link to; upstream adds them elsewhere."""
    since = {"states": 14, "portgroups": 24, "volume": 32, "bios": 40, "firmware": 86}
    if resource != "nodes":
        return set()
    return {name for name, first in since.items() if minor < first}


async def test_requests(api: World, facts: dict[str, Any]) -> None:
    """What upstream's schema refuses is refused with 400; the example with all its fields is taken."""
    made = await furnish(api)
    rows = operations(api)
    wrong: list[str] = []
    tried = 0
    for path, body in BODIES.items():
        name = f"POST {path}"
        schemas = facts["routes"].get(name, {}).get("body")
        if name not in rows or not schemas:
            continue
        schema = schema_at(schemas, NEWEST)
        assert not objections(schema, body(made)), (name, objections(schema, body(made)))
        for what, bad in spoiled(schema, body(made)):
            tried += 1
            if what.startswith(LENIENT.get(name, ("no such field",))):
                continue
            reply = await api.ask("POST", path, bad)
            if reply.status != 400:
                wrong.append(f"{name} with {what}: {reply.status} {str(reply.json)[:200]}")
    assert not wrong, "\n".join(wrong)
    assert tried > 50


def spoiled(schema: dict[str, Any], good: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Variants of a good body that the schema does not allow, each in one place."""
    candidates: list[tuple[str, dict[str, Any]]] = [("no object", [good])]  # type: ignore[list-item]
    candidates += [
        (f"no {name}", {k: v for k, v in good.items() if k != name})
        for name in schema.get("required", ())
    ]
    candidates.append(("an unknown field", {**good, "surprise": 1}))
    for name in schema["properties"]:
        for value in (
            17,
            True,
            None,
            "x" * 5000,
            "",
            "no such thing \u2603",
            [],
            [17],
            {},
            {"a": 1},
        ):
            candidates.append((f"{name} = {str(value)[:20]!r}", {**good, name: value}))
    for what, body in candidates:
        if isinstance(body, dict) and "uuid" in body and "uuid =" not in what:
            body = {**body, "uuid": str(uuid.uuid4())}
        if objections(schema, body):
            yield what, body


async def _fill(api: World, node: str) -> None:
    """Give the node what only hardware would tell."""

    def change(conn: Any) -> None:
        beat = {"beat": 1, "beat_at": "2026-01-01T00:00:00.000000Z", "group_name": ""}
        started = {"incarnation": "i", "host": "host-1", "started_at": beat["beat_at"]}
        told = {"roles": to_json(["conductor"]), "info": to_json({"drivers": []})}
        conn.execute(conductors.insert().values(**beat, **started, **told))
        setting = {"name": "virtualization", "value": "on", "created_at": beat["beat_at"]}
        conn.execute(tables.node_bios.insert().values(node_uuid=node, **setting))

    await api.db.write(change)
