"""However long properties are, an image and a page of a list have an end."""

from __future__ import annotations

import json

import sqlalchemy as sa

from ingot.kit.db.database import timestamp
from ingot.kit.tasks.clock import SystemClock
from ingot.services.image import tables
from tests.identity.cloud import Cloud
from tests.image.test_wire import PATCH, Client

LONG = "é" * 32_000  # 64,000 octets


def test_properties_are_bounded_together(cloud: Cloud) -> None:
    admin = Client(cloud)
    body = {"name": "long", **{f"p{number}": LONG for number in range(5)}}
    refused = admin.call("POST", "/v2/images", json=body)
    assert refused.status_code == 400 and "262144 octets" in refused.text
    image = admin.new(**{f"p{number}": LONG for number in range(4)})
    patch = [{"op": "add", "path": "/p5", "value": LONG}]
    headers = {"Content-Type": PATCH}
    refused = admin.call("PATCH", f"/v2/images/{image}", json=patch, headers=headers)
    assert refused.status_code == 400 and "octets" in refused.text
    patch = [{"op": "remove", "path": "/p1"}, *patch]
    assert admin.call("PATCH", f"/v2/images/{image}", json=patch, headers=headers).ok


def put_old_ones(conn: sa.Connection, count: int) -> None:
    """As they could be before there was a bound."""
    at = timestamp(SystemClock().now())
    text = json.dumps({f"p{number}": "x" * 65_000 for number in range(100)})
    row = {"status": "queued", "owner": "old", "visibility": "public", "created_at": at}
    row |= {"updated_at": at, "properties": text}
    rows = [{**row, "id": f"00000000-0000-4000-8000-{n:012}"} for n in range(count)]
    conn.execute(sa.insert(tables.images), rows)


def test_a_page_ends_before_it_is_too_long(cloud: Cloud) -> None:
    admin = Client(cloud)
    cloud.run(cloud.images.db.write(lambda conn: put_old_ones(conn, 9)))
    found, path = list[str](), "/v2/images?owner=old&limit=1000&sort=id:asc"
    pages = 0
    while path:
        reply = admin.call("GET", path)
        assert reply.status_code == 200 and len(reply.content) < 20 << 20
        found += [one["id"] for one in reply.json()["images"]]
        path, pages = reply.json().get("next"), pages + 1
    assert len(found) == len(set(found)) == 9 and pages == 5
    image = f"/v2/images/{found[0]}"
    headers = {"Content-Type": PATCH}
    less = admin.call("PATCH", image, json=[{"op": "remove", "path": "/p7"}], headers=headers)
    assert less.status_code == 200, "what is too long already can be made shorter"
    more = [{"op": "replace", "path": "/p8", "value": "y" * 65_500}]
    assert admin.call("PATCH", image, json=more, headers=headers).status_code == 400
