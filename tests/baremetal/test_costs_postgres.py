"""The same on PostgreSQL, with ten thousand machines and what it knows of them: no request's statement reads them all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, world
from test_costs import asked, furnish, requests

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
MANY = 10_000
#: Those that are filled; PostgreSQL reads small ones row after row, and is right to.
FLEET = ("nodes", "baremetal_ports", "node_traits", "allocations", "operations")
_FILL = (
    f"""INSERT INTO nodes (uuid, name, created_at, driver, provision_state, resource_class, owner, lessee, shard,
           conductor_group)
       SELECT gen_random_uuid()::text, 'many-' || n, '2026-01-01T00:00:00.000000+00:00', 'd' || n % 50,
           's' || n % 50, 'c' || n % 50, 'o' || n % 500, 'l' || n % 500, 's' || n % 50, 'g' || n % 50
       FROM generate_series(1, {MANY}) AS n""",
    """INSERT INTO baremetal_ports (uuid, node_uuid, address, created_at)
       SELECT gen_random_uuid()::text, uuid, 'mac' || id, created_at FROM nodes WHERE name LIKE 'many%'""",
    """INSERT INTO node_traits (node_uuid, trait)
       SELECT uuid, 'CUSTOM_T' || id % 100 FROM nodes WHERE name LIKE 'many%'""",
    """INSERT INTO allocations (uuid, name, state, created_at, node_uuid, owner, resource_class)
       SELECT gen_random_uuid()::text, 'a' || id, 'active', created_at, uuid, owner, resource_class
       FROM nodes WHERE name LIKE 'many%'""",
    """INSERT INTO operations (id, kind, version, subject, input, profile, group_name, requested_by, state, owner,
           epoch, created_at, ended_at)
       SELECT gen_random_uuid()::text, 'deploy', 1, 'node:' || uuid, '{}', '', '', '', 'done', 'c1', 1, created_at,
           created_at
       FROM nodes WHERE name LIKE 'many%'""",
)
#: The shards are counted over all machines.
_WHOLE = {"GET /v1/shards"}


def _fill(conn: sa.Connection) -> None:
    for text in _FILL:
        conn.exec_driver_sql(text)


def _reads(plan: Any) -> list[str]:
    """What a plan reads row after row."""
    found = [_reads(inner) for inner in plan.get("Plans", ())]
    mine = plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in FLEET
    here = [f"{plan['Relation Name']}: {plan.get('Filter', 'all')}"] if mine else []
    return here + [one for some in found for one in some]


async def _walks(api: World, statements: list[str]) -> list[str]:
    def explain(conn: sa.Connection) -> list[str]:
        conn.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        conn.exec_driver_sql("SET enable_seqscan = on")
        found: list[str] = []
        for text in statements:
            if not text.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            count = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
            given = f"({', '.join(['NULL'] * count)})" if count else ""
            conn.exec_driver_sql(f"PREPARE looked AS {text}")
            plan = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE looked{given}").scalar()
            conn.exec_driver_sql("DEALLOCATE looked")
            (whole,) = json.loads(plan) if isinstance(plan, str) else plan
            found += [f"{one}: {text[-300:]}" for one in _reads(whole["Plan"])]
        return found

    return await api.db.read(explain)


@pytest.mark.timeout(240)
async def test_no_request_reads_ten_thousand_machines(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path, url=postgres_url) as api:
        made = await furnish(api)
        made["empty"] = (await api.ask("POST", "/v1/chassis", {})).json["uuid"]
        await api.node(name="n2")
        await api.db.write(_fill)
        await api.db.write(lambda conn: conn.exec_driver_sql("ANALYZE"))
        wrong: dict[str, list[str]] = {}
        for method, path, body in requests(made):
            found = await _walks(api, await asked(api, method, path, body))
            if found and f"{method} {path}" not in _WHOLE:
                wrong[f"{method} {path}"] = found
        assert not wrong, "\n".join(f"{one}\n    {text}" for one, text in wrong.items())
