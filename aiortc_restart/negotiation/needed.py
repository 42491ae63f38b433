import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

REVERSED = {"sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True)
class Described:
    """
    What a description says of the directions of media, and whether it has data.
    """

    type: str
    "`offer` or `answer`."

    directions: Mapping[str, str]
    "The direction of each m-section for media, by mid, as its own side sees it."

    data: bool = False
    "Whether it has an m-section for data channels, and does not reject it."

    rejected: Collection[str] = ()
    "The mids of the m-sections which it rejects."

    streams: Mapping[str, str] = field(default_factory=dict)
    "The id of the stream of each m-section for media, by mid (RFC 8830)."


@dataclass(frozen=True)
class Medium:
    """
    What a transceiver wants.
    """

    mid: str | None
    direction: str
    stopped: bool = False
    stream: str | None = None
    "The id of the stream which the application has set for its sender, if it has."


def is_needed(
    *,
    replace_credentials: bool,
    data_channels: bool,
    media: Iterable[Medium],
    local: Described | None,
    remote: Described | None,
) -> bool:
    """
    Check if negotiation is needed (webrtc-pc #dfn-check-if-negotiation-is-needed).

    :param replace_credentials: Whether [[LocalIceCredentialsToReplace]] is not empty.
    :param data_channels: Whether a data channel has been created.
    :param local: The current local description.
    :param remote: The current remote description.
    """
    # Step 1, implementation-specific reasons: there are none.
    # Step 2: If connection.[[LocalIceCredentialsToReplace]] is not empty, return true.
    if replace_credentials:
        return True
    # Step 4: data channels, and no m-section for data.
    if data_channels and not (
        local is not None and local.data and (remote is None or remote.data)
    ):
        return True
    # Step 5, for each transceiver.
    return any(_medium_is_changed(x, local, remote) for x in media)


def _medium_is_changed(
    medium: Medium, local: Described | None, remote: Described | None
) -> bool:
    described = local.directions.get(medium.mid) if local and medium.mid else None
    if local is None or described is None:
        # Step 5.2: not associated with an m-section yet.
        return not medium.stopped
    if medium.stopped:
        # Step 5.1, as aiortc stops at once, is step 5.4: not rejected yet.
        return not any(medium.mid in x.rejected for x in (local, remote) if x)
    # Step 5.3.1, the streams of the sender.
    if medium.stream is not None and "send" in medium.direction:
        if local.streams.get(medium.mid or "") != medium.stream:
            return True
    offered = remote.directions.get(medium.mid) if remote and medium.mid else None
    seen = reverse(offered) if offered is not None else None
    if local.type == "offer":
        # Step 5.3.2
        return medium.direction not in (described, seen)
    # Step 5.3.3
    return described != intersect(medium.direction, seen or "inactive")


def intersect(a: str, b: str) -> str:
    """
    Return the direction which does only what both do (RFC 9429 section 5.3.1).
    """
    sends = "send" in a and "send" in b
    receives = "recv" in a and "recv" in b
    if sends and receives:
        return "sendrecv"
    return "sendonly" if sends else "recvonly" if receives else "inactive"


def reverse(direction: str) -> str:
    """
    Return a direction as the other side sees it.
    """
    return REVERSED.get(direction, direction)


class NegotiationNeeded:
    """
    The [[NegotiationNeeded]] slot and its event (webrtc-pc
    #dfn-update-the-negotiation-needed-flag).

    :param busy: Whether a step of the negotiation is running.
    :param check: Whether negotiation is needed.
    :param stable: Whether the connection is open and its signaling state is stable.
    :param fire: Fires the event.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        check: Callable[[], bool],
        stable: Callable[[], bool],
        fire: Callable[[], object],
    ) -> None:
        self._busy = busy
        self._check = check
        self._fire = fire
        self._needed = False
        # The event loop that has been asked to evaluate, and has not yet.
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self._stable = stable
        # Whether no event loop ran when something changed, and none has looked since.
        self._unseen = False
        self._update_when_empty = False

    def chain_emptied(self) -> None:
        """
        Do what was put off for as long as steps of the negotiation were running.
        """
        if self._update_when_empty or self._unseen:
            self._update_when_empty = False
            self.update()

    def look_again(self) -> None:
        """
        Do in the event loop that runs what was put off because none did: a connection
        may be made, and tracks be added, before `asyncio.run()`.

        An event loop tells nobody that it begins, so that this is called by what may be
        asked of the connection then.
        """
        if self._unseen and _running_loop() is not None:
            self.update()

    def reset(self) -> None:
        """
        Forget that the event was fired: the signaling state has become stable again.
        """
        self._needed = False
        self.update()

    def update(self) -> None:
        """
        Fire the event soon, if negotiation is needed then.
        """
        # Step 1: If the length of connection.[[Operations]] is not 0, then set
        # [[UpdateNegotiationNeededFlagOnEmptyChain]] to true, and abort these steps.
        if self._busy():
            self._update_when_empty = True
            return
        # Step 2: Queue a task, also where no loop runs yet. It is not known then which
        # one will: the thread's own, or another one, as with asyncio.run().
        loop = _running_loop()
        self._unseen = loop is None
        loop = loop or _loop_of_thread()
        if loop is not None and loop is not self._scheduled:
            self._scheduled = loop
            loop.call_soon(self._evaluate)

    def _evaluate(self) -> None:
        self._scheduled = None
        self._unseen = False
        # Step 2.2, and again step 1, as a step may have begun meanwhile.
        if self._busy():
            self._update_when_empty = True
            return
        # Steps 2.1 and 2.3
        if not self._stable():
            return
        # Step 2.4
        if not self._check():
            self._needed = False
            return
        # Steps 2.5 to 2.7
        if self._needed:
            return
        self._needed = True
        self._fire()


def _loop_of_thread() -> asyncio.AbstractEventLoop | None:
    """
    Return the event loop which was set for this thread, if there is one.
    """
    try:
        return asyncio.get_event_loop()
    except (DeprecationWarning, RuntimeError):
        return None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
