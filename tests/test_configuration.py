import asyncio
import dataclasses
from typing import Any

import aioice.ice
import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc_restart.rtcconfiguration import TIMES

from .calls import ice_transport, path, restart
from .network import Network
from .utils import connected_pair, negotiate, states, until

# When the check of consent notices that the path is dead, at the latest (RFC 7675
# section 5.1), and some time for what follows.
EXPIRY = 45.0


def test_defaults() -> None:
    """
    A restart has 39.5 seconds (RFC 8863 section 3), a failed connection a minute, and
    five seconds of silence are a disconnection; consent is as aioice has it.
    """
    configuration = RTCConfiguration()
    assert configuration.iceDisconnectedTimeout == 5.0
    assert configuration.iceRestartTimeout == 39.5
    assert configuration.iceFailedTimeout == 60.0
    assert configuration.iceConsentInterval is None
    assert configuration.iceConsentTimeout is None


def test_base_options() -> None:
    """
    All options of aiortc's class are there, in the same order and with its defaults.
    """
    base = dataclasses.fields(aiortc.RTCConfiguration)
    ours = dataclasses.fields(RTCConfiguration)[: len(base)]
    assert [(x.name, x.default) for x in ours] == [(x.name, x.default) for x in base]
    servers = [RTCIceServer(urls="stun:127.0.0.1")]
    assert RTCConfiguration(servers).iceServers is servers


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [0, -1.0, True, float("inf"), float("nan"), "5", [5]])
def test_invalid(name: str, value: object) -> None:
    """
    A time is a positive number of seconds, or the error names the option.
    """
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        RTCConfiguration(**options)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [None, 7, 6.25])
def test_valid(name: str, value: float | None) -> None:
    """
    A time may be an integer, a fraction, or `None`.
    """
    options: dict[str, Any] = {name: value}
    assert getattr(RTCConfiguration(**options), name) == value


@pytest.mark.parametrize("seconds", [0.001, 0.1, 0.3, 0.499])
def test_disconnected_timeout_too_short(seconds: float) -> None:
    """
    A path is probed before it is called silent, whatever is configured.
    """
    with pytest.raises(ValueError, match="iceDisconnectedTimeout must be at least"):
        RTCConfiguration(iceDisconnectedTimeout=seconds)


@pytest.mark.parametrize("seconds", [0.25, 4, 4.999])
def test_consent_interval_too_short(seconds: float) -> None:
    """
    Consent requests are never less than four seconds apart, whatever is configured.
    """
    # RFC 7675 section 5.1
    with pytest.raises(ValueError, match="iceConsentInterval must be at least 5"):
        RTCConfiguration(iceConsentInterval=seconds)


@pytest.mark.parametrize(
    ("interval", "timeout", "least"),
    [(None, 5, 6), (None, 6, 6), (10, 9, 12), (10.0, 12.0, 12), (25, None, 30)],
)
def test_consent_timeout_too_short(
    interval: float | None, timeout: float | None, least: int
) -> None:
    """
    Consent lasts until it has been asked for again, or a path that works would be lost.
    """
    text = f"iceConsentTimeout must be more than {least} seconds"
    with pytest.raises(ValueError, match=text):
        RTCConfiguration(iceConsentInterval=interval, iceConsentTimeout=timeout)


@pytest.mark.parametrize(
    ("interval", "timeout"), [(None, 6.1), (5, 7), (10, 12.5), (24, None), (60, 90)]
)
def test_consent_times(interval: float | None, timeout: float | None) -> None:
    """
    Longer times are the application's choice.
    """
    RTCConfiguration(iceConsentInterval=interval, iceConsentTimeout=timeout)


def test_consent_settings_of_aioice(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is not configured is compared as an application has set it in aioice, and is
    not judged otherwise.
    """
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 1)
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 1)
    RTCConfiguration()
    RTCConfiguration(iceConsentTimeout=2)
    with pytest.raises(ValueError, match=r"must be more than 6 seconds, .*, not 1"):
        RTCConfiguration(iceConsentInterval=5)


async def test_base_class(network: Network) -> None:
    """
    A configuration of aiortc's own class will do.
    """
    configuration = aiortc.RTCConfiguration(iceServers=[])
    async with connected_pair(network, configuration=configuration) as pair:
        await restart(pair.offerer, pair.answerer)
        history = states(pair.offerer)
        network.cut()
        await asyncio.sleep(EXPIRY)
        assert history.connection == ["connected", "disconnected", "failed"]
        await asyncio.sleep(60)
        assert history.connection[2:] == ["failed", "closed"]


@pytest.mark.parametrize("seconds", [5.0, 39.5, None])
async def test_restart_timeout(network: Network, seconds: float | None) -> None:
    """
    A restart which does not succeed ends at its deadline, and the call goes on.
    """
    configuration = RTCConfiguration(iceServers=[], iceRestartTimeout=seconds)
    async with connected_pair(network, configuration=configuration) as pair:
        transport = ice_transport(pair.offerer)
        before = path(transport)
        old = {x.local.port for x in [transport.getSelectedCandidatePair()] if x}
        # Only the old pair gets through.
        network.filter = lambda x: not old.isdisjoint({x.source[1], x.destination[1]})
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        history = states(pair.offerer)
        assert history.ice == ["connected"]
        if seconds is None:
            await asyncio.sleep(600)
            assert history.ice == ["connected"]
        else:
            await asyncio.sleep(seconds - 0.1)
            assert history.ice == ["connected"]
            await asyncio.sleep(0.2)
            assert history.ice == ["connected", "completed"]
            assert network.sockets("alice") == network.sockets("bob") == 1
        assert path(transport) == before
        await pair.exchange()
        network.filter = None
        await restart(pair.offerer, pair.answerer)
        assert history.connection == ["connected"]


@pytest.mark.parametrize("seconds", [10.0, None])
async def test_failed_timeout(network: Network, seconds: float | None) -> None:
    """
    A connection whose path is lost closes itself after a time, or never.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=seconds)
    async with connected_pair(network, configuration=configuration) as pair:
        failed: list[float] = []
        ended: list[float] = []

        def note(pc: RTCPeerConnection = pair.offerer) -> None:
            if pc.connectionState == "failed":
                failed.append(network.now)
            elif pc.connectionState == "closed":
                ended.append(network.now)

        pair.offerer.on("connectionstatechange", note)
        network.cut()
        await asyncio.sleep(600)
        assert len(failed) == 1
        if seconds is not None:
            assert ended == [pytest.approx(failed[0] + seconds)]
        else:
            assert ended == []
            assert pair.channel.readyState == "open"


async def test_failed_timeout_recovered(network: Network) -> None:
    """
    A restart in time stops the clock of a failed connection.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=10.0)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.cut()
        await until(lambda: history.connection[-1] == "failed", timeout=EXPIRY)
        network.heal()
        await asyncio.sleep(8)
        await restart(pair.offerer, pair.answerer)
        await asyncio.sleep(60)
        assert history.connection == [
            *("connected", "disconnected", "failed", "connecting", "connected")
        ]
        await pair.exchange()
