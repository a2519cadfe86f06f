"""The GETs that rules want made (`api-call`): after everything is written, so that nothing waits for them."""

from __future__ import annotations

from ingot.kit.faults import Failed
from ingot.kit.http import client as http_client
from ingot.kit.http.egress import Egress
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal.inspection.rules.actions import ApiCall

#: Answers after which trying again makes sense.
_AGAIN = frozenset({429, 500, 502, 503, 504})


async def make_api_call(call: ApiCall, clock: Clock, egress: Egress) -> int:
    """Make the call; the status of a good answer. Failed when there is none after all tries.

    egress: whom calls may ask whose host the machine has a say in.
    """
    await http_client.ready()
    import aiohttp  # loaded by then (`outgoing`)

    wrong = ""
    for number in range(call.retries + 1):
        if number:
            await clock.sleep(call.backoff * 2 ** (number - 1))
        try:
            status = await _once(call, egress)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            wrong = http_client.why(error)
            continue
        if status < 400:
            return status
        wrong = f"it answered {status}"
        if status not in _AGAIN:
            break
    raise Failed(f"Request to {call.url.partition('?')[0]} failed: {wrong}")


async def _once(call: ApiCall, egress: Egress) -> int:
    import aiohttp  # loaded by then (`outgoing`)

    proxy = call.proxies.get(call.url.partition(":")[0])
    limit = aiohttp.ClientTimeout(total=call.timeout)
    connector = egress.connector() if call.judged else aiohttp.TCPConnector()
    async with (
        http_client.session(
            connector=connector,
            timeout=limit,
            headers=call.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session,
        session.get(call.url, proxy=proxy) as reply,
    ):
        return reply.status
