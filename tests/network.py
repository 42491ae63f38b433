"""
A simulated network in virtual time, on which aioice and aiortc run unmodified.

A test which asks for the `network` fixture runs on it, with two hosts, `"alice"` and
`"bob"`, one IPv4 address each:

    async def test_restart(network: Network) -> None:
        offerer = network.at("alice", RTCPeerConnection)(configuration)
        answerer = network.at("bob", RTCPeerConnection)(configuration)
        ...
        network.cut("alice")
        await asyncio.sleep(60)
        network.readdress("alice", "10.0.3.1")

* The clock (`loop.time()`) jumps to the next timer when nothing else is to be done, so
  sixty seconds of waiting cost a few milliseconds. It stands still while an executor
  works. SCTP, RTP and the pacing of tracks follow it, so media may be part of a test;
  decoders work in threads of their own, so frames are late by an unknown virtual time.
* Code runs on the host of its context: `network.at()` makes a class whose methods run
  on a host, and within `with network.host("alice"):` everything else does. Tasks and
  callbacks inherit the host of the code which started them.
* Configure peers with `iceServers=[]`: there is no server, and no name to resolve.
* OpenSSL times the retransmissions of DTLS by the real clock: a datagram which is lost
  *during the handshake*, or a round trip of more than a second, costs a real second,
  then two, then four.
* When the test has ended, no task, timer, socket, thread, unretrieved exception or
  warning of a destructor may be left, else it fails.

Where a fixture does not fit (hypothesis), `run()` does the same for a plain function.
"""

import asyncio
import contextlib
import contextvars
import datetime
import errno
import functools
import gc
import heapq
import ipaddress
import itertools
import os
import random
import selectors
import sys
import threading
import time
import types
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, cast
from unittest import mock

import aioice.ice
import aiortc.clock
import aiortc.mediastreams
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
from aioice import stun
from OpenSSL import SSL

from .places import Places

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

Address = tuple[str, int]

CLOCK_READERS = (
    aiortc.mediastreams,
    aiortc.rtcrtpreceiver,
    aiortc.rtcrtpsender,
    aiortc.rtcsctptransport,
)
"The modules whose `time.time()` is that of the event loop."

GRACE = 0.1
"Virtual seconds within which what a test leaves may still end by itself."

EPHEMERAL_PORTS = range(49152, 65536)
LOG_LENGTH = 20_000
MAX_PAYLOAD = 65507
REAL_LIMIT = 120.0
"Real seconds which a test may take, and an executor may work."

STALL_LIMIT = 1.0
"Real seconds to wait for a thread when the loop has nothing to wait for."

VIRTUAL_LIMIT = 3600.0
"Virtual seconds which a test may take."


@functools.lru_cache(maxsize=1024)
def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _version(address: str) -> int:
    return 6 if ":" in address else 4


@dataclass(slots=True)
class Datagram:
    """
    What crossed the network, or tried to.
    """

    time: float
    "The virtual time at which it was sent."

    source: Address
    destination: Address
    data: bytes

    fate: str = "in flight"
    """
    Possible values: `"in flight"`, `"delivered"`, `"cut"`, `"filtered"`, `"lost"` and
    `"unreachable"` (nobody listens there).
    """

    @property
    def message(self) -> stun.Message | None:
        """
        The STUN message in it, or `None`.
        """
        try:
            return stun.parse_message(self.data)
        except ValueError:
            return None


@dataclass(eq=False)
class Host:
    """
    A host of the network: a name, the addresses it has now, and its open sockets.
    """

    name: str
    addresses: list[str]
    sockets: set["Transport"] = field(default_factory=set)


_current_host: contextvars.ContextVar[Host | None] = contextvars.ContextVar(
    "current_host", default=None
)


def _get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    host = _current_host.get()
    if host is None:
        raise RuntimeError("candidates are gathered outside of any host of the network")
    wanted = {4: use_ipv4, 6: use_ipv6}
    return [address for address in host.addresses if wanted[_version(address)]]


class Transport(asyncio.DatagramTransport):
    """
    A UDP socket of a host.

    :param network: The network which carries what it sends.
    :param host: The host which owns it.
    :param protocol: The protocol which is told what it receives.
    :param local: Its address and port.
    :param remote: The only address and port it talks to, if it is connected.
    """

    def __init__(
        self,
        network: "Network",
        host: Host,
        protocol: asyncio.DatagramProtocol,
        local: Address,
        remote: Address | None,
    ) -> None:
        extra: dict[str, object] = {"sockname": _sockaddr(local), "socket": None}
        if remote is not None:
            extra["peername"] = _sockaddr(remote)
        super().__init__(extra)
        self.context = contextvars.copy_context()
        self.host = host
        self.local = local
        self._closed = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._protocol = protocol
        self._remote = remote

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._connection_lost, context=self.context)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def receive(self, datagram: Datagram) -> bool:
        """
        Hand a datagram to the protocol and tell whether it was taken.
        """
        if self._closing or self._remote not in (None, datagram.source):
            return False
        datagram.fate = "delivered"
        self.context.run(
            self._protocol.datagram_received, datagram.data, _sockaddr(datagram.source)
        )
        return True

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__!r}")
        if self._remote is None:
            destination = (_canonical(addr[0]), addr[1])
        elif addr is None or (_canonical(addr[0]), addr[1]) == self._remote:
            destination = self._remote
        else:
            raise ValueError(f"address must be None or {self._remote}")
        if self._closed:
            # As asyncio does: no exception, but whoever watches the loop sees it.
            self._loop.call_exception_handler(
                {"message": f"datagram sent on a closed socket {self.local}"}
            )
            return
        code = self._error(destination, len(data))
        if code is None:
            self._network.send(self.local, destination, bytes(data))
        else:
            self._protocol.error_received(OSError(code, os.strerror(code)))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.DatagramProtocol, protocol)

    def _connection_lost(self) -> None:
        self._closed = True
        self._network.release(self)
        self._protocol.connection_lost(None)

    def _error(self, destination: Address, length: int) -> int | None:
        if self.local[0] not in self.host.addresses:
            return errno.ENETUNREACH
        if _version(destination[0]) != _version(self.local[0]):
            return errno.EAFNOSUPPORT
        if length > MAX_PAYLOAD:
            return errno.EMSGSIZE
        return None

    def __repr__(self) -> str:
        return f"<socket {self.local} of {self.host.name}>"


def _sockaddr(address: Address) -> tuple[Any, ...]:
    return address if _version(address[0]) == 4 else (*address, 0, 0)


class _Selector(selectors.DefaultSelector):
    """
    A selector which moves the clock of its loop on where others would sleep.
    """

    loop: "VirtualLoop"

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            self.loop.check_real_time()
        elif self.loop.work:
            events = super().select(REAL_LIMIT)
            self.loop.check_real_time()
        elif timeout is not None:
            self.loop.advance(timeout)
        else:
            events = super().select(STALL_LIMIT)
            if not events:
                self.loop.give_up("everything waits, and for nothing that will come")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop in virtual time, whose datagrams stay within a :class:`Network`.
    """

    def __init__(self, network: "Network") -> None:
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.deadline = time.monotonic() + REAL_LIMIT
        self.errors: list[str] = []
        self.executor = ThreadPoolExecutor(thread_name_prefix="virtual")
        self.gave_up: str | None = None
        self.main: asyncio.Task[Any] | None = None
        self.work: set[asyncio.Future[Any]] = set()
        self._network = network
        self._now = 0.0
        self.set_default_executor(self.executor)
        self.set_exception_handler(self._record)

    def advance(self, seconds: float) -> None:
        """
        Move the clock on.
        """
        self._now += seconds
        if self._now > self._network.limit:
            self.give_up(f"not done after {self._network.limit} virtual seconds")
        self.check_real_time()

    def check_real_time(self) -> None:
        if time.monotonic() > self.deadline:
            self.give_up(f"not done after {REAL_LIMIT} real seconds")

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], ProtocolT],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, ProtocolT]:
        if options.get("sock") is not None:
            raise NotImplementedError("the simulated network has no multicast")
        host, local, remote = self._network.bind(local_addr, remote_addr)
        protocol = protocol_factory()
        transport = Transport(
            self._network,
            host,
            cast(asyncio.DatagramProtocol, protocol),
            local,
            remote,
        )
        self._network.attach(transport)
        protocol.connection_made(transport)
        try:
            # A real one does not answer at once either.
            await asyncio.sleep(0)
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    def give_up(self, reason: str) -> None:
        """
        Cancel the test, so that its traceback shows what it waited for.
        """
        # Cleaning up takes its time, too.
        self.deadline = time.monotonic() + REAL_LIMIT
        self._network.limit = self._now + VIRTUAL_LIMIT
        if self.gave_up is not None or self.main is None or self.main.done():
            raise RuntimeError(f"{reason}; pending: {asyncio.all_tasks(self)}")
        self.gave_up = reason
        self.main.cancel(reason)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.work.add(future)
        future.add_done_callback(self.work.discard)
        return future

    def time(self) -> float:
        return self._now

    def timers(self, ignore: Callable[..., Any]) -> list[asyncio.TimerHandle]:
        """
        Return the calls which are due later, but for those of one function.
        """
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [
            handle
            for handle in scheduled
            if not handle.cancelled() and getattr(handle, "_callback", None) != ignore
        ]

    def _record(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        parts = [context["message"]]
        for key in ("exception", "task", "future", "handle"):
            if key in context:
                parts.append(repr(context[key]))
        self.errors.append(": ".join(parts))


class Network(Places):
    """
    Hosts, and the paths between them.

    Where a method takes *ends*, none means every path, one (a host's name, or an
    address) each path from and to it, two the path between them, both ways.
    """

    def __init__(self) -> None:
        #: The latest datagrams, in the order in which they were sent.
        self.log: deque[Datagram] = deque(maxlen=LOG_LENGTH)
        #: Datagrams for which it returns false are dropped.
        self.filter: Callable[[Datagram], bool] | None = None
        #: The virtual seconds which the test may take, counted from its beginning.
        self.limit = VIRTUAL_LIMIT
        self._cuts: list[frozenset[str]] = []
        self._delays: dict[frozenset[str], float] = {}
        self._flight: list[tuple[float, int, Datagram]] = []
        self._hosts: dict[str, Host] = {}
        self._known_addresses: set[str] = set()
        self._loop: VirtualLoop | None = None
        self._loss = 0.0
        self._owners: dict[str, Host] = {}
        self._ports = itertools.cycle(EPHEMERAL_PORTS)
        self._random = random.Random(0)
        self._sequence = itertools.count()
        self._taps: list[Callable[[Datagram], object]] = []
        self._transports: dict[Address, Transport] = {}

    @property
    def now(self) -> float:
        """
        The virtual time, in seconds since the test began.
        """
        return 0.0 if self._loop is None else self._loop.time()

    def add_host(self, name: str, *addresses: str) -> None:
        """
        Add a host.

        :param name: Its name.
        :param addresses: Its IPv4 and IPv6 addresses.
        """
        if name in self._hosts:
            raise ValueError(f"there is a host {name!r} already")
        host = Host(name, [])
        self._assign(host, addresses)
        self._hosts[name] = host

    def addresses(self, name: str) -> list[str]:
        """
        Return the addresses which a host has.
        """
        return self._hosts[name].addresses[:]

    def cut(self, *ends: str) -> None:
        """
        Drop silently, from now on, whatever is sent or in flight on the paths.
        """
        self._cuts.append(self._ends(ends))

    def delay(self, seconds: float, *ends: str) -> None:
        """
        Let each datagram take this long from now on.

        :param seconds: The time for one way, in virtual seconds.
        """
        key = self._ends(ends)
        # The rule which was made last counts.
        self._delays.pop(key, None)
        self._delays[key] = seconds

    def heal(self, *ends: str) -> None:
        """
        Undo the cut of these ends, or every cut.
        """
        if not ends:
            self._cuts.clear()
            return
        key = self._ends(ends)
        if key not in self._cuts:
            raise ValueError(f"there is no cut of {ends}")
        self._cuts = [cut for cut in self._cuts if cut != key]

    @contextlib.contextmanager
    def host(self, name: str) -> Iterator[None]:
        """
        Run the code within, and what it starts, on a host.

        :param name: The name of the host.
        """
        token = _current_host.set(self._hosts[name])
        try:
            yield
        finally:
            # A coroutine which was abandoned is closed in whichever context it may be.
            with contextlib.suppress(ValueError):
                _current_host.reset(token)

    def loss(self, probability: float, seed: int = 0) -> None:
        """
        Lose datagrams at random from now on.

        :param probability: The part which is lost, from 0 to 1.
        :param seed: Other seeds lose other datagrams.
        """
        self._loss = probability
        self._random = random.Random(seed)

    def readdress(self, name: str, *addresses: str) -> None:
        """
        Give a host other addresses in place of those it has.

        Sockets on an address which vanished stay open. Sending from one of them
        reports `ENETUNREACH` to its protocol, and nothing reaches it, until the
        address is back.
        """
        self._assign(self._hosts[name], addresses)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine on the network, in virtual time, and return its result.

        A network runs once. If the coroutine succeeds, nothing may be left behind.
        """
        if self._loop is not None:
            main.close()
            raise RuntimeError("this network has had its run")
        threads = set(threading.enumerate())
        loop = self._loop = VirtualLoop(self)
        with _surroundings(loop):
            try:
                result = self._run_main(loop, main)
                left = loop.run_until_complete(self._left_behind(loop))
            except BaseException as exc:
                for error in loop.errors:
                    exc.add_note(f"reported to the event loop: {error}")
                raise
            finally:
                self._finish(loop)
            # What is unreachable now reports what nobody retrieved or awaited.
            gc.collect()
        left += loop.errors
        left += map(repr, set(threading.enumerate()) - threads)
        if left:
            raise AssertionError("left behind: " + "\n".join(left))
        return result

    def sockets(self, name: str) -> int:
        """
        Return the number of sockets which a host has open.
        """
        return len(self._hosts[name].sockets)

    def tap(self, callback: Callable[[Datagram], object]) -> None:
        """
        Call back for each datagram when it is sent, before its fate is known.
        """
        self._taps.append(callback)

    # What the event loop and its sockets call.

    def attach(self, transport: Transport) -> None:
        self._transports[transport.local] = transport
        transport.host.sockets.add(transport)

    def bind(
        self, local: Address | None, remote: Address | None
    ) -> tuple[Host, Address, Address | None]:
        """
        Find the host, the address and the port of a new socket.
        """
        if remote is not None:
            remote = (_canonical(remote[0]), remote[1])
        address = _canonical(local[0]) if local else "::"
        if ipaddress.ip_address(address).is_unspecified:
            host = _current_host.get()
            version = _version(remote[0] if remote else address)
            candidates = host.addresses if host else []
            address = next((x for x in candidates if _version(x) == version), address)
        owner = self._owners.get(address)
        if owner is None or _current_host.get() not in (None, owner):
            raise OSError(errno.EADDRNOTAVAIL, f"{address} is not an address here")
        return owner, (address, self._port(address, local[1] if local else 0)), remote

    def release(self, transport: Transport) -> None:
        del self._transports[transport.local]
        transport.host.sockets.discard(transport)

    def send(self, source: Address, destination: Address, data: bytes) -> None:
        datagram = Datagram(self.now, source, destination, data)
        self.log.append(datagram)
        for tap in self._taps:
            tap(datagram)
        if self._match(datagram, self._cuts):
            datagram.fate = "cut"
        elif self.filter is not None and not self.filter(datagram):
            datagram.fate = "filtered"
        elif self._loss and self._random.random() < self._loss:
            datagram.fate = "lost"
        else:
            self._launch(datagram)

    # Private.

    def _assign(self, host: Host, addresses: tuple[str, ...]) -> None:
        wanted = [_canonical(address) for address in addresses]
        for address in wanted:
            if self._owners.get(address, host) is not host:
                raise ValueError(f"{address} belongs to another host")
        for address in host.addresses:
            del self._owners[address]
        host.addresses = wanted
        self._owners.update(dict.fromkeys(wanted, host))
        self._known_addresses.update(wanted)

    def _deliver(self) -> None:
        # Each datagram has one such call at its time of arrival, and the sequence
        # number keeps the order of those which arrive together.
        _, _, datagram = heapq.heappop(self._flight)
        transport = self._transports.get(datagram.destination)
        if self._match(datagram, self._cuts):
            datagram.fate = "cut"
        elif (
            transport is None
            or datagram.destination[0] not in transport.host.addresses
            or not transport.receive(datagram)
        ):
            datagram.fate = "unreachable"

    def _ends(self, ends: tuple[str, ...]) -> frozenset[str]:
        if len(ends) > 2:
            raise ValueError("a path has two ends")
        keys = set()
        for end in ends:
            if end not in self._hosts:
                end = _canonical(end)
                if end not in self._known_addresses:
                    raise ValueError(f"{end} was never an address here")
            keys.add(end)
        return frozenset(keys)

    def _finish(self, loop: VirtualLoop) -> None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=GRACE))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.executor.shutdown(wait=loop.gave_up is None)
            loop.close()

    def _launch(self, datagram: Datagram) -> None:
        assert self._loop is not None
        seconds = 0.0
        for ends, value in self._delays.items():
            if self._match(datagram, [ends]):
                seconds = value
        arrival = datagram.time + seconds
        heapq.heappush(self._flight, (arrival, next(self._sequence), datagram))
        if seconds:
            self._loop.call_at(arrival, self._deliver)
        else:
            self._loop.call_soon(self._deliver)

    async def _left_behind(self, loop: VirtualLoop) -> list[str]:
        current = asyncio.current_task()
        for _ in range(50):
            if loop.work:
                await asyncio.wait(loop.work)
            await asyncio.sleep(0)
        if tasks := asyncio.all_tasks() - {current}:
            await asyncio.wait(tasks, timeout=GRACE)
        left = [repr(task) for task in asyncio.all_tasks() - {current}]
        left += map(repr, self._transports.values())
        left += map(repr, loop.timers(ignore=self._deliver))
        return left

    def _match(self, datagram: Datagram, rules: Sequence[frozenset[str]]) -> bool:
        if not rules:
            return False
        names = set()
        for address in (datagram.source[0], datagram.destination[0]):
            names.add(address)
            if address in self._owners:
                names.add(self._owners[address].name)
        return any(ends <= names for ends in rules)

    def _port(self, address: str, wanted: int) -> int:
        if wanted:
            if (address, wanted) in self._transports:
                raise OSError(errno.EADDRINUSE, f"{address}:{wanted} is in use")
            return wanted
        for port in itertools.islice(self._ports, len(EPHEMERAL_PORTS)):
            if (address, port) not in self._transports:
                return port
        raise OSError(errno.EADDRINUSE, f"no port of {address} is free")

    def _run_main(self, loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
        loop.main = task = loop.create_task(main, name="test")
        try:
            result = loop.run_until_complete(task)
        except asyncio.CancelledError as exc:
            if loop.gave_up is None:
                raise
            raise TimeoutError(loop.gave_up) from exc
        if loop.gave_up is not None:
            raise TimeoutError(loop.gave_up)
        return result


def run(
    function: Callable[Concatenate[Network, P], Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """
    Call a coroutine function with a network of "alice" and "bob", and run it there.
    """
    network = two_hosts()
    return network.run(function(network, *args, **kwargs))


def two_hosts() -> Network:
    """
    Return a network of "alice" and "bob".
    """
    network = Network()
    network.add_host("alice", "10.0.1.1")
    network.add_host("bob", "10.0.2.1")
    return network


@contextlib.contextmanager
def _surroundings(loop: VirtualLoop) -> Iterator[None]:
    """
    What aioice and aiortc see of the world while the loop runs.
    """
    began = datetime.datetime.now(datetime.UTC)
    clock = types.SimpleNamespace(time=lambda: began.timestamp() + loop.time())
    handle_timeout = SSL.Connection.DTLSv1_handle_timeout

    def wait_and_handle_timeout(connection: SSL.Connection) -> bool:
        # OpenSSL has its own idea of the time, and does nothing before it agrees.
        time.sleep(connection.DTLSv1_get_timeout() or 0)
        return handle_timeout(connection)

    def record(unraisable: "sys.UnraisableHookArgs") -> None:
        loop.errors.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    def current_datetime() -> datetime.datetime:
        return began + datetime.timedelta(seconds=loop.time())

    replacements: list[tuple[object, str, object]] = [
        (aioice.ice, "get_host_addresses", _get_host_addresses),
        (aiortc.clock, "current_datetime", current_datetime),
        (SSL.Connection, "DTLSv1_handle_timeout", wait_and_handle_timeout),
        (sys, "unraisablehook", record),
    ]
    replacements += [(module, "time", clock) for module in CLOCK_READERS]
    with contextlib.ExitStack() as stack:
        for target, name, replacement in replacements:
            stack.enter_context(mock.patch.object(target, name, replacement))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error", ResourceWarning)
        warnings.filterwarnings("error", "coroutine .* was never awaited")
        yield
