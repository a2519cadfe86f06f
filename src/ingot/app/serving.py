"""`ingot serve`: the listeners of one process, from the first socket to the last signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import functools
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import Server

from ingot.app import memory
from ingot.app.build import build
from ingot.app.crowd import Bounds, Crowd, share
from ingot.app.options import near_url
from ingot.app.tls import Certificate
from ingot.app.wire import HttpProtocol, SuspendDetector
from ingot.kit import log
from ingot.kit.faults import Fault
from ingot.kit.http.proxies import Proxies
from ingot.kit.namespace import enter_namespace
from ingot.settings import Settings, load, parse_listen

#: How long cut-off requests may take for that.
_TIDY_SECONDS = 15.0
#: Where the number of open files has no bound.
_FILES_AT_MOST = 1 << 20
_log = log.get("serve")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `ingot serve`; all others are in the settings file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.add_argument("--state", metavar="DIR", help="folder of everything that is kept")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="where the API answers")
    parser.add_argument("--database", metavar="URL", help="postgresql://… for a cluster")
    parser.add_argument("--host", metavar="NAME", help="this process's name among its peers")
    parser.add_argument("--group", metavar="NAME", help="conductor group")
    parser.add_argument(
        "--roles", help="api,conductor,console: those of this process (default: all)"
    )
    parser.add_argument("--netns", metavar="NAME", help="live in this network namespace")


#: A thread that waits for the interpreter while the event loop is busy gets it after so long. The writer of SQLite
#: gives it up at every statement: with Python's 5 ms a commit of a hundred takes half a second in a storm.
SWITCH_SECONDS = 0.0005


def run_serve(args: argparse.Namespace) -> int:
    """`ingot serve`: the cloud, until it is told to stop."""
    try:
        settings = load(
            args.config,
            state=args.state,
            listen=args.listen,
            database=args.database,
            host=args.host,
            group=args.group,
            netns=args.netns,
            roles=args.roles.split(",") if args.roles else None,
        )
        log.configure(json=settings.log.json, level=settings.log.level)
        claim = _claimed(settings)
        own = settings.tls
        tls = Certificate(Path(own.certificate), Path(own.key)) if own.certificate else None
        # A socket belongs to the namespace in which it was made: the API stays where clients are.
        api_socket = _bound(settings.listen) if "api" in settings.roles else None
        if settings.netns:
            enter_namespace(settings.netns)
        boot_socket = _bound(settings.provisioning.listen) if settings.provisioning.listen else None
    except Fault as fault:
        print(f"ingot: {fault.sentence()}", file=sys.stderr)
        return 2
    _many_sockets()
    sys.setswitchinterval(SWITCH_SECONDS)
    memory.share_arenas()
    with claim, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, api_socket, boot_socket, tls))


async def _serve(
    settings: Settings,
    api_socket: socket.socket | None,
    boot_socket: socket.socket | None,
    tls: Certificate | None = None,
) -> int:
    try:
        cloud = build(settings)
    except Fault as fault:
        print(f"ingot: {fault.sentence()}", file=sys.stderr)
        return 2
    started = False
    try:
        await cloud.open()
        servers: list[tuple[_QuietServer, socket.socket]] = []
        if api_socket is not None:
            servers.append(
                (_server(cloud.listeners.api().asgi, _crowd(settings, "api"), tls), api_socket)
            )
        if boot_socket is not None:
            crowd = _crowd(settings, "provisioning")
            servers.append((_server(cloud.listeners.boot().asgi, crowd), boot_socket))
        if settings.database:
            HttpProtocol.stillness = SuspendDetector(asyncio.get_running_loop())
        async with _signals(cloud.engine.hurry.set) as stop:
            tasks = [asyncio.ensure_future(s.serve(sockets=[sock])) for s, sock in servers]
            ends = [asyncio.ensure_future(stop.wait()), *tasks]
            following = asyncio.ensure_future(tls.follow()) if tls else None
            answering = asyncio.gather(*(s.answering.wait() for s, _ in servers))
            await asyncio.wait([answering, *ends], return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                started = True
                _told_start(settings)
                _announce(settings)
                memory.settle()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            _log.info("stopping", why=stop.why or "a listener ended")
            await cloud.drain()
            await cloud.hub.close()  # live streams end; they would hold the servers otherwise
            answering.cancel()
            if following is not None:
                following.cancel()
            for server, _ in servers:
                server.should_exit = True
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            # Requests that were cut off tidy up after themselves, with what `close` takes away.
            if cut := [task for server, _ in servers for task in server.server_state.tasks]:
                await asyncio.wait(cut, timeout=_TIDY_SECONDS)
        return _told(ended)
    except Fault as fault:
        print(f"ingot: {fault.sentence()}", file=sys.stderr)
        return 1
    finally:
        if HttpProtocol.stillness is not None:
            HttpProtocol.stillness.close()
        await cloud.close()
        if started:
            _log.info("stopped", process=os.getpid())


def _told(ended: Sequence[BaseException | None]) -> int:
    """The exit code, after what broke a listener has been told."""
    broken = [error for error in ended if error is not None]
    for error in broken:
        _log.error("a listener broke", exc_info=error)
        print(f"ingot: a listener broke: {error!r}; the log has more.", file=sys.stderr)
    return 1 if broken else 0


def _claimed(settings: Settings) -> contextlib.AbstractContextManager[object]:
    """The state folder, made where missing; with SQLite in it, for this process alone until it ends."""
    state = settings.state_dir
    try:
        # Passwords, keys and other people's machines: nobody else on this host has business in there.
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "lock").open("a+")
    except OSError as error:
        raise Fault(
            f"The state folder {state} cannot be used: {error.strerror}.",
            next_action="Choose another folder with --state.",
        ) from None
    if settings.database:
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise Fault(
            f"Another `ingot serve` (process {lock.read().strip() or '?'}) uses the state folder {state}.",
            next_action="Stop it, or choose another folder with --state.",
        ) from None
    lock.truncate(0)
    try:
        lock.write(str(os.getpid()))
        lock.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            lock.close()
        raise Fault(
            f"The state folder {state} cannot be written to: {error.strerror}.",
            next_action="Make room there, or choose another folder with --state.",
        ) from None
    return lock


def _many_sockets() -> None:
    """As many open files as we may have: each Redfish controller has a connection of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _told_start(settings: Settings) -> None:
    _log.info(
        "started",
        version=version("ingot"),
        process=os.getpid(),
        host=settings.hostname,
        roles=",".join(settings.roles),
        api=settings.listen if "api" in settings.roles else None,
        provisioning=settings.provisioning.listen or None,
        tls=bool(settings.tls.certificate) or None,
        database="PostgreSQL" if settings.database.startswith("postgresql") else "SQLite",
        state=str(settings.state_dir),
    )


def _announce(settings: Settings) -> None:
    own = "identity" in settings.services.offered
    clouds = f"  clouds: {settings.state_dir / 'clouds.yaml'}" if own else ""
    print(f"ingot is ready: {near_url(settings)}{clouds}", flush=True)


class _QuietServer(Server):
    """Signals are ours: one process has several servers. `answering` is set once clients can connect.

    handshake_seconds: so long a client may take for that of TLS; uvicorn would wait a minute.
    """

    def __init__(self, config: Config, handshake_seconds: float) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()
        self._handshake = handshake_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.is_ssl:
            await self._startup_of_tls(sockets or [])
        else:
            await super().startup(sockets=sockets)
        self.answering.set()

    async def _startup_of_tls(self, sockets: list[socket.socket]) -> None:
        def connection() -> asyncio.Protocol:
            make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
            return make(config=self.config, server_state=self.server_state, app_state={})

        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connection,
                sock=sock,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self._handshake,
                backlog=self.config.backlog,
            )
            for sock in sockets
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _crowd(settings: Settings, listener: str) -> Crowd:
    """The connections of a listener, in number what the settings say or what open files allow."""
    own = settings.http
    named = {"api": own.api_connections, "provisioning": own.provisioning_connections}[listener]
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = _FILES_AT_MOST
    return Crowd(
        Bounds(
            connections=named or share(listener, files),
            of_peer=own.peer_connections,
            head_seconds=own.head_seconds,
            stall_seconds=own.stall_seconds,
            idle_seconds=own.idle_seconds,
        ),
        Proxies(settings.trusted_proxies).trusts,
    )


def _server(asgi: Any, crowd: Crowd | None = None, tls: Certificate | None = None) -> _QuietServer:
    crowd = Crowd(Bounds()) if crowd is None else crowd
    return _QuietServer(
        Config(
            asgi,
            log_config=None,  # its words go where ours go, and in our form
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # it believes those of loopback; see `kit.proxies`
            timeout_graceful_shutdown=5,
            timeout_keep_alive=crowd.bounds.idle_seconds,
            http=cast("Any", functools.partial(HttpProtocol, crowd)),
            # Consoles only: what people type, what machines print.
            ws=cast("Any", _websocket),
            ws_max_size=1 << 16,
            ws_per_message_deflate=False,
            ssl_context_factory=_context(tls) if tls else None,
        ),
        crowd.bounds.head_seconds,
    )


def _context(tls: Certificate) -> Callable[..., ssl.SSLContext]:
    return lambda *_given: tls.context


def _websocket(**given: Any) -> asyncio.Protocol:
    """One websocket's protocol. Loaded with the first of them: 40 modules, 1 MiB, 30 ms."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**given)


class _Stop(asyncio.Event):
    """The wish to stop. why: the signal's name, "" before it has come."""

    why = ""


@contextlib.asynccontextmanager
async def _signals(hurry: Callable[[], object]) -> AsyncGenerator[_Stop]:
    """Set at the first SIGTERM or SIGINT; the second one calls `hurry`."""
    stop = _Stop()
    loop = asyncio.get_running_loop()

    def told(number: signal.Signals) -> None:
        if stop.is_set():
            _log.info("told again to stop; not waiting for work under way", why=number.name)
            hurry()
        stop.why = stop.why or number.name
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)
    yield stop


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _bound(listen: str) -> socket.socket:
    host, port = parse_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        raise Fault(
            f"Cannot listen on {listen}: {os.strerror(error.errno or 0)}.",
            next_action="Choose another address with --listen, or stop what uses this one.",
        ) from None
    return sock
