"""
How often consent is asked for, and how long it lasts, as it is configured.
"""

import asyncio
import itertools

import aioice.ice
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .agents import active
from .calls import ice_transport, restart
from .consents import LIFETIME, time_of_loss
from .network import Network
from .probes import checks
from .utils import connected_pair, states


def consent(interval: float | None, timeout: float | None = None) -> RTCConfiguration:
    """
    Return a configuration with which nothing but consent is asked for.
    """
    return RTCConfiguration(
        iceServers=[],
        iceConsentInterval=interval,
        iceConsentTimeout=timeout,
        iceDisconnectedTimeout=None,
        iceFailedTimeout=None,
    )


def gaps(network: Network, pc: RTCPeerConnection, since: float) -> list[float]:
    """
    Return the times between the consent requests of a peer, in seconds.
    """
    sent = checks(network, active(ice_transport(pc)), since=since)
    return [b.time - a.time for a, b in itertools.pairwise(sent)]


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("interval", [5, 10.0, 20])
async def test_interval(network: Network, when: str, interval: float) -> None:
    """
    Consent is asked for after 0.8 to 1.2 times the interval, from the start or from the
    moment at which it is changed; a restart makes no difference.
    """
    configuration = consent(interval)
    async with connected_pair(
        network, configuration=configuration if when == "before" else consent(15)
    ) as pair:
        await asyncio.sleep(60)
        if when == "during":
            for pc in (pair.offerer, pair.answerer):
                pc.setConfiguration(configuration)
            # The one that was due before has gone by then.
            await asyncio.sleep(18)
        for _ in range(2):
            began = network.now
            await asyncio.sleep(60 * interval)
            found = gaps(network, pair.offerer, since=began)
            assert 0.8 * interval <= min(found) < 0.9 * interval
            assert 1.1 * interval < max(found) <= 1.2 * interval
            await restart(pair.offerer, pair.answerer)
            await asyncio.sleep(5)


async def test_interval_is_read_from_aioice(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where nothing is configured aioice's setting counts, again from the moment at which
    the configuration is taken back.
    """
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 2)
    async with connected_pair(network, configuration=consent(None)) as pair:
        for interval in (2, 10, 2):
            configured = None if interval == 2 else interval
            pair.offerer.setConfiguration(consent(configured, configured and 30))
            await asyncio.sleep(12)
            began = network.now
            await asyncio.sleep(200)
            found = gaps(network, pair.offerer, since=began)
            assert 0.8 * interval <= min(found) <= max(found) <= 1.2 * interval


async def test_shorter_interval_counts_at_once(network: Network) -> None:
    """
    A connection which would ask in minutes asks within seconds when it is told to.
    """
    async with connected_pair(network, configuration=consent(600, 3600)) as pair:
        await asyncio.sleep(100)
        began = network.now
        pair.offerer.setConfiguration(consent(5))
        await asyncio.sleep(0.1)
        transport = ice_transport(pair.offerer)
        assert len(checks(network, active(transport), since=began)) == 1


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("seconds", [7, 12.5, 60])
async def test_timeout(network: Network, when: str, seconds: float) -> None:
    """
    A path is lost so many seconds after the last response, on each side by itself.
    """
    configuration = consent(None, seconds)
    async with connected_pair(
        network, configuration=configuration if when == "before" else consent(None)
    ) as pair:
        await asyncio.sleep(60)
        if when == "during":
            pair.offerer.setConfiguration(configuration)
            await asyncio.sleep(10)
        network.cut()
        transport = ice_transport(pair.offerer)
        assert await time_of_loss(transport) == pytest.approx(seconds, abs=0.1)


# The last response may be 6 s older than the cut, so that all is over after 24 s.
@pytest.mark.parametrize("cut", [8.0, 23.5])
async def test_timeout_is_shortened_in_an_outage(network: Network, cut: float) -> None:
    """
    A path on which nothing comes has the new time from then on, unless the old one is
    over earlier.
    """
    async with connected_pair(network, configuration=consent(None)) as pair:
        transport = ice_transport(pair.offerer)
        await asyncio.sleep(60)
        network.cut()
        await asyncio.sleep(cut)
        renewed = active(transport).connection.consent_time
        assert renewed is not None
        began = network.now
        pair.offerer.setConfiguration(consent(None, 7))
        await time_of_loss(transport)
        expected = min(began + 7, renewed + LIFETIME)
        assert network.now == pytest.approx(expected, abs=0.1)


async def test_timeout_is_lengthened_in_an_outage(network: Network) -> None:
    """
    A path which would be lost soon is given more time.
    """
    async with connected_pair(network, configuration=consent(None)) as pair:
        transport = ice_transport(pair.offerer)
        await asyncio.sleep(60)
        network.cut()
        await asyncio.sleep(20)
        pair.offerer.setConfiguration(consent(None, 60))
        assert await time_of_loss(transport) == pytest.approx(60, abs=0.1)


async def test_living_path_outlives_any_change(network: Network) -> None:
    """
    Whatever the times are changed to, whenever, a path that works is not lost.
    """
    async with connected_pair(network, configuration=consent(60, 300)) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        times = [(60, 300), (5, 7), (20, 30), (None, None), (100, 130)]
        for interval, timeout in times * 3:
            await asyncio.sleep(71)
            for pc in (pair.offerer, pair.answerer):
                pc.setConfiguration(consent(interval, timeout))
        await asyncio.sleep(300)
        assert [x.ice for x in histories] == [["completed"]] * 2
        await pair.exchange()


async def test_other_changes_leave_it_alone(network: Network) -> None:
    """
    A connection which is configured all the time asks as often as another one.
    """
    async with connected_pair(network, configuration=consent(None)) as pair:
        # The checks of the beginning are over by then.
        await asyncio.sleep(20)
        began = network.now
        for _ in range(150):
            await asyncio.sleep(2)
            pair.offerer.setConfiguration(pair.offerer.getConfiguration())
        found = gaps(network, pair.offerer, since=began)
        assert 4 <= min(found) <= max(found) <= 6.1
