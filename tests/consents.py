"""
What tests of consent share: forged responses, and the time of the loss.
"""

import asyncio
from collections.abc import Callable

from aioice import stun

from aiortc_restart import RTCIceTransport

from .agents import active, socket_address, states_of
from .network import Address, Datagram, Network
from .probes import is_request, is_response
from .utils import until

LIFETIME = 30.0
"How long consent lasts by default, in seconds (RFC 7675 section 5.1)."

Forgery = Callable[[stun.Message], tuple[Address, stun.Message] | None]
"What makes of a request the response, and where it comes from."


def forge_responses(
    network: Network, transport: RTCIceTransport, forge: Forgery
) -> None:
    """
    Replace all responses to a transport's requests.
    """
    ours = socket_address(active(transport))
    forging = False

    def answer(datagram: Datagram) -> None:
        nonlocal forging
        message = datagram.message
        if datagram.source == ours and is_request(datagram) and message is not None:
            forged = forge(message)
            if forged is not None:
                forging = True
                network.send(forged[0], ours, bytes(forged[1]))
                forging = False

    network.tap(answer)
    network.filter = lambda x: forging or not to(x, ours) or not is_response(x)


def to(datagram: Datagram, address: Address) -> bool:
    return datagram.destination == address


async def time_of_loss(transport: RTCIceTransport) -> float:
    """
    Wait until a path is lost, and return the time since its consent was last renewed.
    """
    history = states_of(transport)
    await until(lambda: transport.state == "failed", timeout=70)
    assert set(history[:-1]) <= {"completed", "disconnected"}
    renewed = active(transport).connection.consent_time
    assert renewed is not None
    return asyncio.get_running_loop().time() - renewed
