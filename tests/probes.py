"""
STUN on the simulated network: what is said there, and sockets which say it, too.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aioice import stun

from aiortc_restart.ice.generation import IceGeneration

from .network import Address, Datagram, Network
from .utils import until

Answer = Callable[[stun.Message, Address], stun.Message]
"What a server answers to a request from an address."


class Prober(asyncio.DatagramProtocol):
    """
    A socket which sends checks and answers those which it gets.

    :param password: The password which its answers are signed with.
    """

    def __init__(self, password: str) -> None:
        self.requests: list[stun.Message] = []
        self.responses: list[stun.Message] = []
        self._key = password.encode()
        self._transport: asyncio.DatagramTransport

    @property
    def address(self) -> Address:
        address: Address = self._transport.get_extra_info("sockname")
        return address

    async def check(
        self,
        destination: Address,
        username: str,
        password: str,
        **attributes: Any,
    ) -> stun.Message:
        """
        Send a check and return the response.

        :param username: Its USERNAME, the receiver's fragment first.
        :param password: The password which it is signed with, the receiver's.
        :param attributes: More attributes, such as `USE_CANDIDATE=None`.
        """
        self.send_check(destination, username, password, **attributes)
        before = len(self.responses)
        await until(lambda: len(self.responses) > before)
        return self.responses[-1]

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        message = stun.parse_message(data)
        if message.message_class != stun.Class.REQUEST:
            self.responses.append(message)
            return
        self.requests.append(message)
        self._transport.sendto(bytes(response(message, addr, self._key)), addr)

    def send_check(
        self,
        destination: Address,
        username: str,
        password: str,
        **attributes: Any,
    ) -> None:
        request = stun.Message(
            message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
        )
        request.attributes["USERNAME"] = username
        # Higher than that of any other candidate.
        request.attributes["PRIORITY"] = 2**31 - 1
        for name, value in attributes.items():
            request.attributes[name.replace("_", "-")] = value
        request.add_message_integrity(password.encode())
        self._transport.sendto(bytes(request), destination)


class StunServer(asyncio.DatagramProtocol):
    """
    A STUN server which takes its time.
    """

    def __init__(self, *delays: float, answer: Answer) -> None:
        self._answer = answer
        self._answers: dict[bytes, asyncio.TimerHandle] = {}
        self._delays = list(delays)
        self._transport: asyncio.DatagramTransport

    def close(self) -> None:
        for answer in self._answers.values():
            answer.cancel()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        request = stun.parse_message(data)
        # What is asked again is the same question.
        if request.transaction_id not in self._answers:
            answer = self._answer(request, (addr[0], addr[1]))
            self._answers[request.transaction_id] = (
                asyncio.get_running_loop().call_later(
                    self._delays.pop(0), self._transport.sendto, bytes(answer), addr
                )
            )


def checks(
    network: Network, generation: IceGeneration, *, since: float = 0
) -> list[Datagram]:
    """
    Return the checks which a generation has sent.
    """
    sent = []
    for datagram in network.log:
        message = datagram.message
        if (
            message is not None
            and message.message_class == stun.Class.REQUEST
            and message.attributes.get("USERNAME", "").endswith(
                ":" + str(generation.local.usernameFragment)
            )
            and datagram.time >= since
        ):
            sent.append(datagram)
    return sent


def error_codes(network: Network, *, since: float = 0) -> set[int]:
    """
    Return the codes of the STUN errors which were sent.
    """
    codes = set()
    for datagram in network.log:
        message = datagram.message
        if message is not None and message.error_code and datagram.time >= since:
            codes.add(message.error_code)
    return codes


def is_request(
    datagram: Datagram, accept: Callable[[stun.Message], bool] = lambda _: True
) -> bool:
    message = datagram.message
    return (
        message is not None
        and message.message_class == stun.Class.REQUEST
        and accept(message)
    )


def is_response(datagram: Datagram) -> bool:
    message = datagram.message
    return message is not None and message.message_class != stun.Class.REQUEST


async def open_prober(network: Network, host: str, password: str = "x") -> Prober:
    with network.host(host):
        _, prober = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Prober(password), local_addr=(network.addresses(host)[0], 0)
        )
    return prober


def response(
    request: stun.Message, address: Any, key: bytes | None, code: int | None = None
) -> stun.Message:
    """
    Return the response to a request.

    :param key: What it is signed with, or `None` for an unsigned one.
    :param code: The code of an error.
    """
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE if code is None else stun.Class.ERROR,
        transaction_id=request.transaction_id,
    )
    if code is None:
        message.attributes["XOR-MAPPED-ADDRESS"] = address
    else:
        message.attributes["ERROR-CODE"] = (code, "Error")
    if key is not None:
        message.add_message_integrity(key)
    return message


def mapped(host: str) -> Answer:
    """
    Return what a server says behind a NAT which maps each port to the same one of
    another address.
    """
    return lambda request, addr: response(request, (host, addr[1]), None)


def refused(code: int, text: str) -> Answer:
    """
    Return what a server says which answers with an error.
    """

    def answer(request: stun.Message, addr: Address) -> stun.Message:
        message = response(request, addr, None, code)
        message.attributes["ERROR-CODE"] = (code, text)
        return message

    return answer


async def stun_server(
    network: Network,
    *delays: float,
    address: str = "10.0.9.1",
    answer: Answer | None = None,
) -> "StunServer":
    """
    Open a STUN server at `stun:10.0.9.1:3478`, or at another address.

    :param delays: For each question in turn the seconds until it is answered.
    :param answer: What it answers, by default :func:`mapped` to 203.0.113.1.
    """
    name = f"server {address}"
    network.add_host(name, address)
    with network.host(name):
        _, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: StunServer(*delays, answer=answer or mapped("203.0.113.1")),
            local_addr=(address, 3478),
        )
    return server
