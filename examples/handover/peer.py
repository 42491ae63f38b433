"""
One end of the call, a process on one of the hosts.

It is run by the program, with which it talks in lines of JSON: what is for the other
end, what it sees, and at last what it has received.
"""

import asyncio
import contextlib
import json
import sys
from typing import Any

import aioice.ice
from aiortc.contrib.media import MediaBlackhole

from aiortc_restart import (
    InvalidStateError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)

from ..ice_restart.accounts import Timeline
from ..ice_restart.messages import MessageFlow
from ..perfect_negotiation import Message, PerfectNegotiation
from ..videocall_cli.media import MovingBars
from ..videocall_cli.status import Status
from .network import PHONE

PATIENCE = 5.0
"Seconds after which a message which has not come is lost."

POLL = 0.2
"Seconds between two looks at the addresses of this host."


class Peer:
    """
    An end which sends a picture and numbered messages.
    """

    def __init__(self, name: str) -> None:
        self._pc = RTCPeerConnection(
            # The time shows in two seconds what takes five by default.
            RTCConfiguration(iceServers=[], iceTrickle=True, iceDisconnectedTimeout=1)
        )
        # Both make an offer at first, and either may restart.
        self._negotiation = PerfectNegotiation(
            self._pc, self._send, polite=name == PHONE
        )
        self._sink = MediaBlackhole()
        self._status = Status(self._pc)
        self._timeline = Timeline()
        self._track = MovingBars()
        self._messages = MessageFlow(
            self._pc.createDataChannel("messages", negotiated=True, id=0)
        )
        self._pc.on("track", self._on_track)
        self._pc.on("iceconnectionstatechange", self._on_ice_state)

    async def run(self) -> None:
        """
        Hold the call, until told to end.
        """
        self._pc.addTrack(self._track)
        steps = [self._follow_program(), self._send_messages(), self._watch_addresses()]
        tasks = [asyncio.create_task(x) for x in steps]
        try:
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # The other end may have been the first to close the channel.
            with contextlib.suppress(InvalidStateError):
                await self._messages.stop()
            self._track.stop()
            await self._pc.close()
            await self._sink.stop()

    async def _end(self, expected: int) -> None:
        """
        Wait for what the other end has sent, and tell what has come.
        """
        for _ in range(round(PATIENCE / POLL)):
            if len(self._messages.received) == expected:
                break
            await asyncio.sleep(POLL)
        tell(
            received=len(self._messages.received),
            arrivals=self._messages.arrivals,
            times=self._timeline.times,
            counts=self._timeline.counts,
        )

    async def _follow_program(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            message = json.loads(line)
            if "description" in message:
                description = RTCSessionDescription(**message["description"])
                await self._negotiation.receive(description)
            elif "candidate" in message:
                candidate = RTCIceCandidate.fromJSON(message["candidate"])
                assert candidate is not None
                await self._negotiation.receive(candidate)
            elif "pause" in message:
                await self._messages.stop()
                tell(sent=self._messages.sent)
            elif "expect" in message:
                await self._end(message["expect"])
                break

    async def _send(self, message: Message) -> None:
        if isinstance(message, RTCSessionDescription):
            tell(description=vars(message))
        else:
            assert isinstance(message, RTCIceCandidate)
            tell(candidate=message.toJSON())

    async def _send_messages(self) -> None:
        await self._messages.opened.wait()
        transport = self._status.transport
        assert transport is not None
        transport.on("selectedcandidatepairchange", self._on_path)
        tell(path=self._status.path)
        self._messages.start()
        await self._sink.start()
        await self._timeline.follow(self._pc)

    async def _watch_addresses(self) -> None:
        """
        Restart ICE when this host has an address which it had not.
        """
        before = addresses()
        while True:
            await asyncio.sleep(POLL)
            if new := addresses() - before:
                tell(event=f"has the address {', '.join(new)}: restartIce()")
                self._pc.restartIce()
            before = addresses()

    def _on_ice_state(self) -> None:
        tell(event=f"ICE is {self._pc.iceConnectionState}")

    def _on_path(self) -> None:
        tell(path=self._status.path)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._sink.addTrack(track)


def addresses() -> set[str]:
    """
    Return the addresses of this host.
    """
    return set(aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False))


def tell(**message: Any) -> None:
    """
    Tell the program something.
    """
    print(json.dumps(message), flush=True)


async def main() -> None:
    await Peer(sys.argv[1]).run()


if __name__ == "__main__":
    asyncio.run(main())
