"""
Applications which put classes in the place of aiortc's and aioice's.
"""

from typing import Any

import aioice.ice
import aiortc
import aiortc.rtcicetransport
import aiortc.sdp
import pytest

import aiortc_restart
from aiortc_restart import RTCConfiguration, RTCIceCandidate

from .calls import ice_transport, paths, restart
from .network import Network
from .test_exports import REPLACED
from .trickling import Trickling
from .utils import connected_pair, credentials, until


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have aiortc's names stand for this package's classes.
    """
    for name in REPLACED:
        monkeypatch.setattr(aiortc, name, getattr(aiortc_restart, name))
    for module in (aiortc.rtcicetransport, aiortc.sdp):
        monkeypatch.setattr(module, "RTCIceCandidate", RTCIceCandidate)


STOCK_CONFIGURATION = aiortc.RTCConfiguration


@pytest.mark.usefixtures("replaced")
async def test_aiortc_names(network: Network) -> None:
    """
    A call, a restart and candidates one by one are the same if aiortc's names stand for
    this package's classes.
    """
    call = Trickling(network)
    call.alice.createDataChannel("test")
    await call.negotiate(call.alice)
    await until(lambda: call.alice.connectionState == "connected")
    before = paths(call.alice)
    call.alice.restartIce()
    await call.negotiate(call.alice)
    await until(lambda: paths(call.alice)[0][0] != before[0][0])
    assert call.errors == []
    await call.close()


@pytest.mark.usefixtures("replaced")
async def test_aiortc_candidates(network: Network) -> None:
    """
    Candidates are converted, and their end is one, with aiortc's name replaced.
    """
    async with connected_pair(network) as pair:
        gatherer = ice_transport(pair.offerer).iceGatherer
        for candidate in gatherer.getLocalCandidates():
            assert isinstance(candidate, RTCIceCandidate)
            assert candidate.usernameFragment is not None
            assert RTCIceCandidate.fromJSON(candidate.toJSON()) == candidate
    end = RTCIceCandidate.fromJSON({"candidate": "", "sdpMid": "0"})
    assert end is not None
    assert end.candidate == ""


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize("stock", [False, True])
async def test_aiortc_configurations(network: Network, stock: bool) -> None:
    """
    Configurations of both classes are taken, with aiortc's name replaced.
    """
    make: Any = STOCK_CONFIGURATION if stock else RTCConfiguration
    async with connected_pair(network) as pair:
        pair.offerer.setConfiguration(make(iceServers=[]))
        assert pair.offerer.getConfiguration().iceServers == []


async def test_aioice_connection(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A connection of aioice's which was made to have the same credentials each time has
    those of its generation.
    """
    make = aioice.ice.Connection.__init__

    def fixed(self: Any, *args: Any, **kwargs: Any) -> None:
        login = {"local_username": "fixed", "local_password": "fixed" * 5}
        make(self, *args, **{**kwargs, **login})

    monkeypatch.setattr(aioice.ice.Connection, "__init__", fixed)
    async with connected_pair(network) as pair:
        before = credentials(pair.offerer.localDescription)
        await restart(pair.offerer, pair.answerer)
        after = credentials(pair.offerer.localDescription)
        assert set(before).isdisjoint(after)
        assert "fixed" not in {x for x, _ in before + after}
        await pair.exchange()
