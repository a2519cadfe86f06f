"""A very small Bare Metal API: what the stock agent needs to look itself up.

Answers `/`, `/v1`, `/v1/lookup` and `/v1/heartbeat/<uuid>` and remembers what it
was told. Used by the tests that boot the ramdisk; also runs by hand:
`python tests/builders/agent_api.py PORT`.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODE = "6f1d2c0a-5555-4222-8333-444455556666"
TOKEN = "t" * 43


class AgentApi:
    """Listens on 127.0.0.1:`port` (0 = any free one) from construction to `close`."""

    def __init__(self, port: int = 0) -> None:
        self.start = time.monotonic()
        self.lookup_at: float | None = None
        self.heartbeat_at: float | None = None
        self.heartbeat: dict[str, Any] = {}
        self.seen_lookup = threading.Event()
        self.seen_heartbeat = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _reply(self, path: str, body: bytes) -> tuple[int, Any]:
        if path.startswith("/v1/lookup"):
            self.lookup_at = self.lookup_at or time.monotonic() - self.start
            self.seen_lookup.set()
            return 200, {"node": _NODE, "config": _CONFIG}
        if path.startswith("/v1/heartbeat/"):
            self.heartbeat_at = self.heartbeat_at or time.monotonic() - self.start
            self.heartbeat = json.loads(body)
            self.seen_heartbeat.set()
            return 202, None
        return 200, {"versions": [_VERSION], "version": _VERSION, "default_version": _VERSION}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def _answer(self, body: bytes) -> None:
                status, document = api._reply(self.path, body)
                content = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                if __name__ == "__main__":
                    print(f"{time.monotonic() - api.start:7.1f} {self.path[:70]}", flush=True)

        return Handler


_VERSION = {"id": "v1", "status": "CURRENT", "min_version": "1.1", "version": "1.109", "links": []}
_NODE = {
    "uuid": NODE, "properties": {}, "instance_info": {}, "driver_internal_info": {}, "links": []
}  # fmt: skip
_CONFIG = {
    "metrics": {"backend": "noop", "prepend_host": False, "prepend_uuid": False,
                "prepend_host_reverse": True, "global_prefix": None},
    "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125},
    "heartbeat_timeout": 300,
    "agent_token": TOKEN,
    "agent_token_required": True,
    "agent_md5_checksum_enable": False,
    "disable_deep_image_inspection": False,
    "permitted_image_formats": ["raw", "qcow2"],
    "agent_containers": {},
}  # fmt: skip


if __name__ == "__main__":
    served = AgentApi(int(sys.argv[1]))
    print(f"listening on {served.port}", flush=True)
    served.seen_heartbeat.wait()
    print(json.dumps(served.heartbeat), flush=True)
    threading.Event().wait()
