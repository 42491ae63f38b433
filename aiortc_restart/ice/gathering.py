import asyncio
import functools
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import aioice
import aioice.ice
import aioice.stun
from aioice.candidate import candidate_foundation, candidate_priority

from .. import _aiortc
from .._async import Tasks
from .._servers import IceServer
from .candidate import RTCPeerConnectionIceErrorEvent
from .stun import StunProtocol

logger = logging.getLogger(__name__)

MAX_LOCAL_PREFERENCE = 65535

UNREACHABLE = 701
"""
The code of a server which cannot be reached or does not answer (webrtc-pc
#dom-rtcpeerconnectioniceerrorevent-errorcode).
"""

VERSIONS = {socket.AF_INET: 4, socket.AF_INET6: 6}

# What costs the least on the way comes first.
TURN_RANKS = {("turn", "udp"): 0, ("turn", "tcp"): 1, ("turns", "tcp"): 2}


class GatheringObserver(Protocol):
    """
    Who is told what servers have given, as they answer.
    """

    def create_protocol(self) -> aioice.ice.StunProtocol:
        """Make what receives from a relay."""

    def reflexive_found(self, candidate: aioice.Candidate) -> None:
        """A server has seen a socket at an address."""

    def relay_found(
        self, candidate: aioice.Candidate, protocol: aioice.ice.StunProtocol
    ) -> None:
        """A server relays at an address."""

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        """A server has given no candidate."""


class Gathering:
    """
    Asks STUN and TURN servers for candidates, all at once.

    :param observer: Is told of each candidate as it comes.
    :param component: The component of the candidates.
    :param servers: Whom to ask.
    :param hide_related_address: Whether nothing but relayed addresses may be seen.
    :param versions: The IP versions which this host has.
    :param timeout: How long all of them have to answer, in seconds from now.
    """

    def __init__(
        self,
        observer: GatheringObserver,
        component: int,
        servers: Sequence[IceServer],
        hide_related_address: bool,
        versions: set[int],
        timeout: float,
    ) -> None:
        self._aborted = False
        self._component = component
        self._deadline = asyncio.get_running_loop().time() + timeout
        self._hide_related_address = hide_related_address
        self._observer = observer
        self._obstructed = [x for x in servers if x.obstacle is not None]
        self._questions = Tasks("gathering")
        self._relays = Tasks("gathering")
        possible = [x for x in servers if x.obstacle is None]
        self._stun = [x for x in possible if x.scheme == "stun"]
        self._timeout = timeout
        self._turn = sorted(
            (x for x in possible if x.scheme != "stun"),
            key=lambda x: TURN_RANKS[x.scheme, x.transport],
        )
        self._versions = versions

    def abort(self) -> None:
        """
        Ask no more. What a TURN server has been asked for still comes, within its time,
        to be given back.
        """
        self._aborted = True
        self._questions.cancel_soon()

    async def run(self, sockets: Sequence[StunProtocol]) -> None:
        """
        Ask, and wait until all have answered or have had their time.

        :param sockets: Those of the host candidates.
        """
        for server in self._obstructed:
            # Without a socket no STUN server would be asked either.
            if sockets or server.scheme.startswith("turn"):
                self._tell_obstructed(server)
        for i, server in enumerate(self._stun if sockets else []):
            self._questions.create(
                self._ask_from_all(sockets, server, i), f"ask {server.url}"
            )
        for i, server in enumerate(self._turn):
            self._relays.create(self._ask_over_all(server, i), f"ask {server.url}")
        try:
            await self._questions.join()
            await self._relays.join()
        except asyncio.CancelledError:
            self._questions.cancel_soon()
            self._relays.cancel_soon()
            raise

    async def _ask(
        self,
        server: IceServer,
        question: Callable[[], Awaitable[None]],
        failed: Callable[[RTCPeerConnectionIceErrorEvent], None],
        address: tuple[str, int] | None = None,
    ) -> None:
        """
        Ask a server.

        :param failed: Is told if that gives nothing.
        :param address: The local address, if it is known.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                await question()
        except Exception as exc:
            code, text = self._reason(exc)
            logger.info("%s gives no candidate: %d %s", server.url, code, text)
            host, port = address or (None, None)
            failed(RTCPeerConnectionIceErrorEvent(host, port, server.url, code, text))

    async def _ask_from_all(
        self, sockets: Sequence[StunProtocol], server: IceServer, rank: int
    ) -> None:
        """
        Ask a STUN server from all sockets. That it cannot be reached is told once, and
        only if that is so from each of them (webrtc-pc
        #dom-rtcpeerconnectioniceerrorevent-errorcode).

        :param rank: Its place among the servers.
        """
        lookup = asyncio.ensure_future(resolve(server.host))
        lookup.add_done_callback(lambda x: x.cancelled() or x.exception())
        failures: list[RTCPeerConnectionIceErrorEvent] = []

        def failed(event: RTCPeerConnectionIceErrorEvent) -> None:
            if event.errorCode == UNREACHABLE:
                failures.append(event)
            else:
                self._observer.server_failed(event)

        questions = []
        for i, protocol in enumerate(sockets):
            number = i * len(self._stun) + rank
            question = functools.partial(
                self._ask_stun, protocol, server, lookup, number, first=rank == 0
            )
            base = protocol.local_candidate
            address = base.host, base.port
            questions.append(self._ask(server, question, failed, address))
        try:
            await asyncio.gather(*questions)
        finally:
            # It may take longer than anybody waits for it.
            lookup.cancel()
        if len(failures) == len(sockets):
            # Who has waited for an answer says more than who could not ask.
            self._observer.server_failed(failures[-1])

    async def _ask_over_all(self, server: IceServer, rank: int) -> None:
        """
        Ask a TURN server over each IP version. That there is no candidate is told once,
        and only if that is so over each of them.

        :param rank: Its place among the servers.
        """
        failures: list[RTCPeerConnectionIceErrorEvent] = []
        hosts: list[str] = []

        async def look_up() -> None:
            hosts.extend(await self._relay_hosts(server))

        await self._ask(server, look_up, failures.append)
        if self._aborted:
            return
        questions = [
            functools.partial(self._ask_turn, server, x, i + len(VERSIONS) * rank)
            for i, x in enumerate(hosts)
        ]
        await asyncio.gather(
            *(self._ask(server, x, failures.append) for x in questions)
        )
        if len(failures) == max(1, len(hosts)):
            # Who has answered says more than who has not.
            self._observer.server_failed(
                max(failures[::-1], key=lambda x: x.errorCode != UNREACHABLE)
            )

    async def _ask_stun(
        self,
        protocol: StunProtocol,
        server: IceServer,
        lookup: asyncio.Future[dict[int, str]],
        number: int,
        first: bool,
    ) -> None:
        base = protocol.local_candidate
        version = ipaddress.ip_address(base.host).version
        host = (await asyncio.shield(lookup)).get(version)
        if host is None:
            raise OSError(f"{server.host} has no address of IP version {version}")
        request = aioice.stun.Message(
            message_method=aioice.stun.Method.BINDING,
            message_class=aioice.stun.Class.REQUEST,
        )
        response = await protocol.ask(request, (host, server.port))
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        if mapped is None:
            raise ValueError("The response has no XOR-MAPPED-ADDRESS")
        # What has been obtained from different servers has different foundations (RFC
        # 8445 section 5.1.1.3).
        source = base.host if first else f"{base.host}|{server.url}"
        self._observer.reflexive_found(
            aioice.Candidate(
                foundation=candidate_foundation("srflx", "udp", source),
                component=self._component,
                transport="udp",
                priority=self._priority("srflx", number),
                host=mapped[0],
                port=mapped[1],
                type="srflx",
                related_address=base.host,
                related_port=base.port,
            )
        )

    async def _ask_turn(self, server: IceServer, host: str, number: int) -> None:
        candidate, protocol = await _aiortc.relayed_candidate(
            component=self._component,
            hide_related_address=self._hide_related_address,
            protocol_factory=self._observer.create_protocol,
            turn_server=(host, server.port),
            turn_username=server.username,
            turn_password=server.credential,
            turn_ssl=server.scheme == "turns",
            turn_transport=server.transport,
        )
        candidate.priority = self._priority("relay", number)
        if number:
            source = f"{candidate.host}|{server.url}|{host}"
            candidate.foundation = candidate_foundation("relay", "udp", source)
        self._observer.relay_found(candidate, protocol)

    def _priority(self, type: str, number: int) -> int:
        # Candidates of one type have different preferences (RFC 8445 section 5.1.2.1).
        preference = max(0, MAX_LOCAL_PREFERENCE - number)
        return candidate_priority(self._component, type, preference)

    def _reason(self, exc: Exception) -> tuple[int, str]:
        """
        Return the code and the text of an error (webrtc-pc
        #dom-rtcpeerconnectioniceerrorevent-errorcode).
        """
        if isinstance(exc, aioice.stun.TransactionFailed):
            code, text = exc.response.attributes.get("ERROR-CODE", (0, ""))
            if 300 <= code <= 699:
                return code, text
        if isinstance(exc, TimeoutError | aioice.stun.TransactionTimeout):
            return UNREACHABLE, f"There was no answer within {self._timeout:g} seconds"
        return UNREACHABLE, str(exc) or type(exc).__name__

    async def _relay_hosts(self, server: IceServer) -> list[str]:
        """
        Return the addresses at which a TURN server is to be asked.
        """
        if server.transport != "udp":
            # A connection is tried at each address, and TLS checks the name.
            return [server.host]
        found = await resolve(server.host)
        # Where there is no interface of its IP versions, the system knows best.
        usable = [x for version, x in found.items() if version in self._versions]
        return usable or list(found.values())

    def _tell_obstructed(self, server: IceServer) -> None:
        text = server.obstacle or ""
        logger.info("%s gives no candidate: %s", server.url, text)
        self._observer.server_failed(
            RTCPeerConnectionIceErrorEvent(None, None, server.url, UNREACHABLE, text)
        )


async def resolve(host: str) -> dict[int, str]:
    """
    Return a server's address of each IP version of which it has one.

    :raises OSError: if the name does not resolve.
    """
    try:
        return {ipaddress.ip_address(host).version: host}
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_DGRAM
    )
    addresses: dict[int, str] = {}
    for family, _, _, _, address in found:
        if family in VERSIONS:
            addresses.setdefault(VERSIONS[family], str(address[0]))
    return addresses
