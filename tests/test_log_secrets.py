"""
Passwords and keys are in no line of any log, nor in what errors say.
"""

import asyncio
import logging
import re

import pytest
from aiortc import RTCIceTransportPolicy
from aiortc.exceptions import InvalidAccessError

from aiortc_restart import RTCConfiguration, RTCIceServer, RTCPeerConnection

from .calls import ice_transports, peers, restart, switched
from .network import Network
from .turn import turn_server
from .utils import negotiate, until

CREDENTIAL = "the-password-of-the-turn-server"

TURN = RTCIceServer(
    urls=["turn:10.0.8.1", "turn:10.0.8.2"], username="u", credential=CREDENTIAL
)


def formatted(caplog: pytest.LogCaptureFixture) -> str:
    """
    Return all that has been logged, as a handler would write it.
    """
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(formatter.format(x) for x in caplog.records)


def passwords(*pcs: RTCPeerConnection) -> set[str]:
    """
    Return the ICE passwords which the connections know.
    """
    found = set()
    for pc in pcs:
        for description in (pc.localDescription, pc.remoteDescription):
            found |= set(re.findall(r"a=ice-pwd:(\S+)", description.sdp))
    return found


async def test_call(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    A call over a relay, with restarts, an outage and a server that does not answer,
    logs no secret at any level, asyncio's debug mode included.
    """
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    # What is slow on this machine is another matter.
    asyncio.get_running_loop().slow_callback_duration = 60.0
    server = await turn_server(network, *[0.1] * 3)
    configuration = RTCConfiguration(
        iceServers=[TURN],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        iceRestartTimeout=5,
    )
    secrets = {CREDENTIAL}
    async with peers(network, configuration=configuration) as (offerer, _):
        answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
        channel = offerer.createDataChannel("test")
        opened: list[object] = []
        answerer.on("datachannel", opened.append)
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open" and opened)
        secrets |= passwords(offerer, answerer)
        await restart(offerer, answerer)
        await switched(offerer, answerer)
        secrets |= passwords(offerer, answerer)
        network.cut("alice")
        await negotiate(answerer, offerer, iceRestart=True)
        secrets |= passwords(offerer, answerer)
        await until(lambda: offerer.iceConnectionState == "failed", timeout=60)
        network.heal()
        for pc in (offerer, answerer):
            for transport in ice_transports(pc):
                for shown in (transport, transport.generations, transport._connection):
                    assert not any(x in repr(shown) for x in secrets)
        # The tasks and callbacks that wait show what they were given.
        waiting = repr(asyncio.all_tasks()) + repr(offerer) + repr(answerer)
        assert not any(x in waiting for x in secrets)
        await answerer.close()
    await until(lambda: server.live == 0)
    server.close()
    logged = formatted(caplog)
    assert "aioice" in logged
    assert len(secrets) > 5
    for secret in secrets:
        assert secret not in logged
        assert secret not in str([x.args for x in caplog.records])


@pytest.mark.parametrize(
    "server",
    [
        RTCIceServer(urls="turn:host:port", username="u", credential=CREDENTIAL),
        RTCIceServer(urls=["turn:a", ":"], username="u", credential=CREDENTIAL),
        RTCIceServer(urls="turn:a", credential=CREDENTIAL),
        RTCIceServer(urls="turn:a?x", username="u", credential=CREDENTIAL),
    ],
)
async def test_errors(network: Network, server: RTCIceServer) -> None:
    """
    What is said of a server that cannot be used does not show its credential.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    with pytest.raises((ValueError, InvalidAccessError)) as refused:
        pc.setConfiguration(RTCConfiguration(iceServers=[server]))
    assert CREDENTIAL not in repr(refused.value)
    await pc.close()
