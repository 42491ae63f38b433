"""
Browsers which hide their addresses behind names that multicast DNS resolves.
"""

import ipaddress
import threading
from pathlib import Path

import aioice.ice
import aioice.mdns
import aiortc
import dns.version
import pytest

from aiortc_restart import RTCConfiguration, RTCIceCandidate

from .call import Call
from .local import LocalPeer
from .media import Clip
from .post import Disorder
from .remote import remote_peer

pytestmark = [
    pytest.mark.interop,
    # Multicast DNS compresses names where DNS does not (RFC 6762 section 18.14), which
    # that refuses to read.
    pytest.mark.skipif(
        (dns.version.MAJOR, dns.version.MINOR) >= (2, 9),
        reason="with dnspython 2.9, aioice cannot read browsers' answers",
    ),
]


@pytest.mark.parametrize("other", ["chromium"], indirect=True)
@pytest.mark.parametrize("first", ["local", "remote"], ids="{}-first".format)
async def test_multicast_names(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    movie: Path,
    clip: Clip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A page which may not use a camera trickles names in place of addresses, and our end
    resolves them.
    """
    # Its lock belongs to the event loop of the test before.
    monkeypatch.setattr(aioice.ice, "_mdns", threading.local())
    local = LocalPeer(
        connection,
        movie,
        parse=RTCIceCandidate.fromJSON,
        configuration=RTCConfiguration(iceServers=[], iceTrickle=True),
    )
    async with remote_peer(other, media=False) as remote:
        call = Call(local, remote, Disorder(seed=0))
        try:
            await call.connect(first, clip, media=False)
            await call.arrived()
            ((_, sent),) = call.posts["local"].sent.items()
            names = {x["candidate"].split()[4] for x in sent}
            assert all(aioice.mdns.is_mdns_hostname(x) for x in names)

            candidates = local.transport.transport._connection.remote_candidates
            resolved = [x for x in candidates if x.host in names]
            # aioice asks for IPv4 addresses only.
            assert len(resolved) >= 1
            for candidate in resolved:
                ipaddress.ip_address(candidate._network_host)
        finally:
            await call.stop()
