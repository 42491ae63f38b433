"""
Consent to send (RFC 7675): what does not keep it, and when it is lost.
"""

import asyncio
import contextlib

import aioice.ice
import pytest
from aioice import stun

from .agents import (
    active,
    add_candidates,
    chatter,
    connected_transports,
    current,
    described,
    exchange,
    make_transport,
    restart,
    rtp_like,
    socket_address,
    states_of,
    unreachable,
)
from .consents import LIFETIME, forge_responses, time_of_loss, to
from .network import Address, Datagram, Network
from .probes import checks, is_response, response
from .utils import until


async def test_no_responses(network: Network) -> None:
    """
    A path is lost thirty seconds after the last response, on each side by itself.
    """
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(60)
        network.cut()
        lost = await asyncio.gather(time_of_loss(alice), time_of_loss(bob))
        assert lost == pytest.approx([LIFETIME] * 2, abs=0.1)


async def test_nothing_is_sent_without_consent(network: Network) -> None:
    """
    On a path without consent nothing more is sent, nor received.
    """
    # RFC 7675 section 5.1
    async with connected_transports(network) as (alice, _):
        ours = socket_address(active(alice))
        network.filter = lambda x: not (to(x, ours) and is_response(x))
        await until(lambda: alice.state == "failed", timeout=40)
        await asyncio.sleep(1)
        sent = network.log[-1]
        await alice._send(rtp_like("data"))
        await asyncio.sleep(10)
        since = [x for x in network.log if x.time > sent.time and x.source == ours]
        assert since == []
        assert network.sockets("alice") == 0


async def test_path_dies_while_its_pair_is_nominated(network: Network) -> None:
    """
    Consent also expires on a pair which is in use and whose nomination has not been
    answered: thirty seconds after the response to its check.
    """
    alice, bob = make_transport(network, "alice"), make_transport(network, "bob")
    alice._restart_timeout = None

    def cut_at_nomination(datagram: Datagram) -> bool:
        message = datagram.message
        if message is not None and "USE-CANDIDATE" in message.attributes:
            network.cut()
            return False
        return True

    for transport in (alice, bob):
        await transport.iceGatherer.gather()
    for local, remote in ((alice, bob), (bob, alice)):
        await add_candidates(local, described(remote))
    # Where there is a choice the pair is nominated when it has proved valid.
    await add_candidates(alice, unreachable())
    network.filter = cut_at_nomination
    starting = asyncio.gather(
        alice.start(bob.local_parameters), bob.start(alice.local_parameters)
    )
    await until(lambda: alice._active is current(alice))
    selected = network.now
    await until(lambda: alice.state == "failed", timeout=100)
    assert network.now - selected == pytest.approx(LIFETIME, abs=0.5)
    await asyncio.gather(alice.stop(), bob.stop())
    await starting
    await asyncio.wait([starting])


@pytest.mark.parametrize("data", [True, False])
async def test_other_traffic(network: Network, data: bool) -> None:
    """
    What else the peer sends, its own requests or data, does not renew consent.
    """
    async with connected_transports(network) as (alice, bob):
        ours = socket_address(active(alice))
        network.filter = lambda x: not to(x, ours) or not is_response(x)
        began = network.now
        losing = asyncio.create_task(time_of_loss(alice))
        while not losing.done():
            if data:
                await bob._send(rtp_like("data"))
            await asyncio.sleep(0.5)
        await losing
        assert network.now - began == pytest.approx(LIFETIME, abs=0.6)
        received = [x for x in network.log if to(x, ours) and x.fate == "delivered"]
        assert len(received) > (60 if data else 5)


@pytest.mark.parametrize(
    "kind",
    [
        *("genuine", "unsigned", "wrong password", "own password", "wrong address"),
        *("wrong port", "other transaction", "error 401", "error 500", "unsigned 487"),
        *("unsigned 403", "wrong password 403", "wrong address 403"),
    ],
)
async def test_forged_response(network: Network, kind: str) -> None:
    """
    Only a response which is signed with the peer's password, and comes from where the
    request went, renews consent.
    """
    # RFC 8445 section 7.2.5.2.1
    network.add_host("mallory", "10.0.6.6")
    async with connected_transports(network) as (alice, bob):
        ours, theirs = socket_address(active(alice)), socket_address(active(bob))
        key: bytes | None = str(active(bob).local.password).encode()
        if kind.startswith("unsigned"):
            key = None
        elif kind.startswith("wrong password"):
            key = b"x" * 24
        elif kind == "own password":
            key = str(active(alice).local.password).encode()
        source = {
            "wrong address": ("10.0.6.6", theirs[1]),
            "wrong address 403": ("10.0.6.6", theirs[1]),
            "wrong port": (theirs[0], theirs[1] + 1),
        }.get(kind, theirs)
        code = int(kind[-3:]) if kind[-3:].isdigit() else None

        def forge(request: stun.Message) -> tuple[Address, stun.Message]:
            if kind == "other transaction":
                request = stun.Message(request.message_method, request.message_class)
            return source, response(request, ours, key, code)

        forge_responses(network, alice, forge)
        if kind == "genuine":
            await asyncio.sleep(300)
            assert alice.state == "completed"
        else:
            assert await time_of_loss(alice) == pytest.approx(LIFETIME, abs=0.1)
            assert network.now < 2 * LIFETIME
        assert alice.role == "controlling"


@pytest.mark.parametrize("busy", [True, False])
async def test_consent_revoked(network: Network, busy: bool) -> None:
    """
    A signed error 403 ends consent at once: nothing more is sent, and the path is lost
    until a restart finds another one.
    """
    # RFC 7675 section 5.2
    async with connected_transports(network) as (alice, bob):
        ours, theirs = socket_address(active(alice)), socket_address(active(bob))
        history = states_of(alice)
        key = str(active(bob).local.password).encode()
        refused: list[float] = []

        def forge(request: stun.Message) -> tuple[Address, stun.Message]:
            refused.append(network.now)
            return theirs, response(request, ours, key, 403)

        async with chatter(network, alice, bob) if busy else contextlib.nullcontext():
            await asyncio.sleep(10)
            forge_responses(network, alice, forge)
            await until(lambda: alice.state == "failed", timeout=7)
            await asyncio.sleep(10)
        assert refused == [pytest.approx(network.now - 10, abs=0.1)]
        sent = [x for x in network.log if x.source == ours]
        assert sent[-1].time == refused[0]
        assert history == ["completed", "failed"]
        assert network.sockets("alice") == 0
        network.filter = None
        await restart(alice, bob)
        await exchange(alice, bob)


async def test_consent_revoked_on_another_pair(network: Network) -> None:
    """
    A signed error 403 of a pair which is not selected any more harms no other.
    """
    # RFC 7675 section 5.2
    network.readdress("bob", "10.0.2.1", "10.0.4.1")
    async with connected_transports(network) as (alice, bob):
        history = states_of(alice)
        connection = active(alice).connection
        pair = connection.selected_pair
        assert pair is not None
        other = aioice.ice.CandidatePair(pair.protocol, pair.remote_candidate)
        connection._request_consent(other)
        (request,) = connection._consent_requests
        key = str(active(bob).local.password).encode()
        message = response(request.message, pair.local_addr, key, 403)
        request.response_received(message, pair.remote_addr)
        await asyncio.sleep(60)
        assert history == ["completed"]


# aioice's settings, which applications change


async def test_settings_before_the_call(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Consent lasts as long as the settings say, and is asked for as often.
    """
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 3)
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 2)
    async with connected_transports(network) as (alice, _):
        await asyncio.sleep(60)
        assert 60 / 2.4 - 1 <= len(checks(network, active(alice))) - 1 <= 60 / 1.6 + 1
        network.cut()
        assert await time_of_loss(alice) == pytest.approx(6, abs=0.1)


async def test_settings_during_the_call(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Settings count from the moment at which they change.
    """
    async with connected_transports(network) as (alice, _):
        await asyncio.sleep(60)
        monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 20)
        network.cut()
        await asyncio.sleep(90)
        assert alice.state == "disconnected"
        network.heal()
        renewed = network.now
        await until(lambda: (active(alice).connection.consent_time or 0) > renewed)
        monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
        network.cut()
        assert await time_of_loss(alice) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("round_trip", [0, 0.4, 2.0])
@pytest.mark.parametrize("busy", [True, False])
async def test_few_failures_allowed(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    round_trip: float,
    busy: bool,
) -> None:
    """
    However few failures are allowed, there is none on a path which works.
    """
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", failures)
    network.delay(round_trip / 2)
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        if busy:
            async with chatter(network, bob, alice), chatter(network, alice, bob):
                await asyncio.sleep(300)
        else:
            await asyncio.sleep(300)
        assert histories == [["completed"]] * 2
        network.cut()
        lost = await time_of_loss(alice)
        # The next request comes after 6 s at the latest, and is answered within a
        # second, or two round trips.
        least = 6 + max(1, 2 * round_trip)
        assert lost == pytest.approx(max(5 * failures, least), abs=0.1)
