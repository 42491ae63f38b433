"""
The scripts of the traces, with the differences which are known and why they are.
"""

from dataclasses import dataclass, field

from .traces import Known

ANSWERED_EARLY = (
    "libwebrtc answers checks before it has the other's description, so that the "
    "answerer is connected first; aioice keeps them until then"
)
CLOSED_TOGETHER = "in aiortc, the end of the DTLS association closes the other peer too"
COMPLETED = "aioice says that it has completed, where libwebrtc goes on checking"
FIRED_AFTER_ROLLBACK = (
    "Chromium fires after the rollback of a remote offer though nothing needs to be "
    "negotiated, and after an answer to what was rolled back before; Firefox does not"
)
FIRED_WITHOUT_CREDENTIALS = (
    "Chromium fires when there are no credentials to replace yet (webrtc-pc, "
    "dom-rtcpeerconnection-restartice), and then not for what does need it"
)
FIRED_FOR_STOPPED = (
    "browsers fire after each answer for a transceiver which was stopped before it had "
    "a section, though no offer can do anything about it"
)
OWN_TRANSPORT = (
    "in aiortc, a transceiver has a transport of its own, which is new and counts, "
    "until its section is bundled"
)
COMPLETED_AGAIN = (
    "during a restart the state is connected here, and completed when nothing is left "
    "to be gathered and checked; libwebrtc says neither"
)
GATHERED = (
    "an empty candidate ends gathering (webrtc-pc, dom-rtcicecandidate-candidate), "
    "which Chromium does not tell"
)
TOLD_BETWEEN = (
    "here gathering is told of when the caller of setLocalDescription() has resumed, "
    "and the next step begins after that"
)
REUSED_MID = (
    "a mid which was rolled back is used again here, and the other peer still has it"
)
STOPPED = "in aiortc, a stopped transceiver stays among the others, as it was"
STOPPED_LATER = (
    "Chromium answers that the section of a stopped transceiver is inactive, and "
    "rejects it in an offer; here the answer does (RFC 9429 section 5.3.1)"
)

COMMON = [
    Known(COMPLETED, "ice", "connected", "completed"),
    Known(ANSWERED_EARLY, "ice", "checking", "new"),
    Known(ANSWERED_EARLY, "ice", "connected", "checking"),
]
"What is seen in each script which connects the peers from the beginning."

OWN_ICE = Known(OWN_TRANSPORT, "ice", "connected", "new")


# In a page, a candidate may overtake the state.
THEIR_GATHERING = (
    "set- gathering- candidate+ complete+ none+",
    "set- candidate+ gathering+ complete+ none+",
    "set- candidate+ gathering+ candidate+ complete+ none+",
)
OUR_GATHERING = "set- gathering- candidate+ end+ complete+ none+"

TRICKLED = [
    Known(COMPLETED, "ice", "connected", "completed"),
    Known(
        COMPLETED, "events", "checking+ connected+", "checking+ connected+ completed+"
    ),
    Known(COMPLETED_AGAIN, "events", "", "completed+"),
    Known(COMPLETED_AGAIN, "events", "", "connected+"),
    Known(COMPLETED_AGAIN, "events", THEIR_GATHERING, f"connected- {OUR_GATHERING}"),
    Known(GATHERED, "events", THEIR_GATHERING, OUR_GATHERING),
]
"What is seen in each script which trickles, and restarts."


def exchange(offerer: str, answerer: str) -> list[str]:
    """
    Return the steps of a whole negotiation.
    """
    return [
        f"{offerer} setLocalDescription",
        f"{answerer} setRemoteDescription offer",
        f"{answerer} setLocalDescription",
        f"{offerer} setRemoteDescription answer",
    ]


CONNECT = [
    "alice addTransceiver audio & alice createDataChannel",
    *exchange("alice", "bob"),
]


def trickled_exchange(offerer: str, answerer: str) -> list[str]:
    """
    Return the steps of a whole negotiation in which candidates travel by themselves.
    """
    return [
        *exchange(offerer, answerer),
        f"{answerer} addIceCandidates",
        f"{offerer} addIceCandidates",
    ]


@dataclass
class Script:
    """
    A :class:`Script` is a list of steps, see `traces.py`.
    """

    name: str
    steps: list[str]
    known: list[Known] = field(default_factory=list)
    trickles: bool = False


def stopped(peer: str, page: str, ours: str, *steps: int) -> Known:
    """
    Return a difference in what is told of transceivers, the first of which is the same.
    """
    first = {"alice": "audio 0 sendrecv sendonly", "bob": "audio 0 recvonly recvonly"}
    there, here = (", ".join(filter(None, [first[peer], x])) for x in (page, ours))
    return Known(STOPPED, "transceivers", there, here, peer, steps or None)


SCRIPTS = [
    Script(
        "offers-and-answers",
        [
            # All tracks in one bundle, offered in words.
            "alice addTrack audio & alice addTrack video & alice createDataChannel",
            "alice createOffer",
            "alice setLocalDescription offer",
            "bob setRemoteDescription offer",
            "bob addTrack video",
            "bob createAnswer",
            "bob setLocalDescription answer",
            "alice setRemoteDescription answer",
            # The other offers.
            "bob addTrack audio",
            *exchange("bob", "alice"),
            # An offer which changes nothing.
            *exchange("alice", "bob"),
            # Another section.
            "bob addTransceiver video recvonly",
            *exchange("bob", "alice"),
        ],
        [*COMMON],
    ),
    Script(
        "provisional-answers",
        [
            "alice addTransceiver audio & alice createDataChannel",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob createAnswer",
            "bob setLocalDescription pranswer",
            "alice setRemoteDescription pranswer",
            # What is not to be done then.
            "bob setLocalDescription rollback",
            "bob setRemoteDescription rollback",
            "bob setRemoteDescription offer",
            "alice setLocalDescription rollback",
            "alice setRemoteDescription rollback",
            "alice setLocalDescription",
            "alice addTransceiver video",
            # Another one, then the last.
            "bob setLocalDescription pranswer",
            "alice setRemoteDescription pranswer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            # Once more in a living call.
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob createAnswer",
            "bob setLocalDescription pranswer",
            "alice setRemoteDescription pranswer",
            "bob setLocalDescription answer",
            "alice setRemoteDescription answer",
            # With a restart.
            "alice restartIce",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob createAnswer",
            "bob setLocalDescription pranswer",
            "alice setRemoteDescription pranswer",
            "bob setLocalDescription answer",
            "alice setRemoteDescription answer",
        ],
        [*COMMON, OWN_ICE],
    ),
    Script(
        "rollback-of-the-first-offer",
        [
            "alice addTransceiver audio & alice createDataChannel",
            "alice setLocalDescription rollback",
            "alice setRemoteDescription rollback",
            "alice setLocalDescription",
            "alice setLocalDescription rollback",
            "alice setLocalDescription",
            # Which side it is told makes no difference.
            "alice setRemoteDescription rollback",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob setRemoteDescription rollback",
            "bob setRemoteDescription offer",
            "bob setLocalDescription rollback",
            "bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            "alice setLocalDescription rollback",
            "bob setRemoteDescription rollback",
        ],
        [
            *COMMON,
            Known(FIRED_AFTER_ROLLBACK, "needed", "1", "0", "bob", (10, 12)),
            Known(FIRED_AFTER_ROLLBACK, "needed", "1", "0", "alice", (15,)),
        ],
    ),
    Script(
        "rollback-of-a-later-offer",
        [
            *CONNECT,
            "alice addTransceiver video",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "alice setLocalDescription rollback",
            "bob setRemoteDescription rollback",
            "alice setDirection 0 inactive",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "alice setLocalDescription rollback",
            "bob setRemoteDescription rollback",
            # A restart.
            "alice createOffer restart",
            "alice setLocalDescription offer",
            "alice setLocalDescription rollback",
            "alice restartIce",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob setLocalDescription rollback",
            "alice setRemoteDescription rollback",
            *exchange("bob", "alice"),
            *exchange("alice", "bob"),
        ],
        [*COMMON, OWN_ICE],
    ),
    Script(
        "tracks-added-to-a-remote-offer",
        [
            # What only the offer made goes with it, what got a track stays.
            "alice addTrack audio & alice addTrack video",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob addTrack audio",
            "bob setRemoteDescription rollback",
            *exchange("bob", "alice"),
            "bob addTrack video",
            *exchange("alice", "bob"),
            *exchange("bob", "alice"),
        ],
        [
            *COMMON,
            OWN_ICE,
            Known(
                REUSED_MID,
                "transceivers",
                "audio 2 sendrecv -",
                "audio 0 sendrecv -",
                "bob",
                (6,),
            ),
        ],
    ),
    Script(
        "restart-in-each-state",
        [
            # There is nothing to restart yet.
            "alice restartIce",
            "alice addTransceiver audio & alice createDataChannel",
            "alice restartIce & alice setLocalDescription",
            "bob restartIce",
            # In the first have-local-offer and have-remote-offer.
            "alice restartIce",
            "bob setRemoteDescription offer",
            "bob restartIce",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("alice", "bob"),
            # In stable: it is remembered until an answer has restarted.
            "alice restartIce",
            "alice restartIce",
            "alice createOffer",
            "alice setLocalDescription offer",
            # In have-local-offer, which that offer does not satisfy.
            "alice restartIce",
            "bob setRemoteDescription offer",
            # In have-remote-offer.
            "bob restartIce",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("alice", "bob"),
            # Between createOffer and setLocalDescription.
            "alice createOffer",
            "alice restartIce",
            "alice setLocalDescription offer",
            "bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            # The other side's restart will do.
            "bob createOffer restart",
            "bob setLocalDescription offer",
            "alice setRemoteDescription offer",
            "alice setLocalDescription",
            "bob setRemoteDescription answer",
        ],
        [
            *COMMON,
            Known(FIRED_WITHOUT_CREDENTIALS, "needed", "1", "0", "alice", (1,)),
            Known(FIRED_WITHOUT_CREDENTIALS, "needed", "0", "1", "alice", (2,)),
            Known(FIRED_WITHOUT_CREDENTIALS, "needed", "1", "0", "bob", (4,)),
        ],
    ),
    Script(
        "restart-rolled-back",
        [
            *CONNECT,
            "alice createOffer restart",
            "alice setLocalDescription offer",
            "alice setLocalDescription rollback",
            *exchange("alice", "bob"),
            "alice restartIce",
            "alice setLocalDescription",
            "alice setLocalDescription rollback",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob restartIce",
            "bob setRemoteDescription rollback",
            "bob setLocalDescription",
            # The other's offer does not restart what it knew of.
            "alice setRemoteDescription offer",
            "alice setLocalDescription",
            "bob setRemoteDescription answer",
        ],
        [*COMMON],
    ),
    Script(
        "first-offers-cross",
        [
            "alice addTrack audio & alice createDataChannel",
            "bob addTrack audio & bob addTrack video",
            "alice setLocalDescription & bob setLocalDescription",
            # The polite one gives way.
            "bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("bob", "alice"),
        ],
        [*COMMON, OWN_ICE],
    ),
    Script(
        "later-offers-cross",
        [
            *CONNECT,
            "alice addTrack video & bob addTrack video",
            "alice setLocalDescription & bob setLocalDescription",
            "bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("bob", "alice"),
            # Restarts which cross.
            "alice restartIce & bob restartIce",
            "alice setLocalDescription & bob setLocalDescription",
            "alice setRemoteDescription offer",
            "alice setLocalDescription",
            "bob setRemoteDescription answer",
            # The offers of both are given up.
            "alice addTransceiver audio & bob restartIce",
            "alice setLocalDescription & bob setLocalDescription",
            "alice setLocalDescription rollback & bob setLocalDescription rollback",
            *exchange("bob", "alice"),
            *exchange("alice", "bob"),
        ],
        [*COMMON, OWN_ICE],
    ),
    Script(
        "needs",
        [
            "alice createDataChannel",
            "alice createDataChannel",
            "alice addTransceiver audio & alice addTransceiver video",
            *exchange("alice", "bob"),
            "alice createDataChannel",
            # A direction changed, and changed back.
            "bob setDirection 0 sendrecv",
            "bob setDirection 0 recvonly",
            "alice setDirection 0 inactive & alice setDirection 0 sendrecv",
            "alice setDirection 0 sendrecv",
            "alice setDirection 0 recvonly",
            # What comes while an offer is out counts when it is answered.
            "alice setLocalDescription",
            "alice setDirection 0 sendonly",
            "alice addTransceiver audio",
            "bob setRemoteDescription offer",
            "bob addTrack audio",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            # What is satisfied before it is looked at does not count.
            "alice setLocalDescription & bob setDirection 1 inactive",
            "bob addTransceiver video & bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("bob", "alice"),
        ],
        [*COMMON],
    ),
    Script(
        "directions",
        [
            "alice addTransceiver audio sendonly & alice addTransceiver video recvonly",
            *exchange("alice", "bob"),
            "bob setDirection 0 sendrecv & bob setDirection 1 sendrecv",
            *exchange("bob", "alice"),
            "alice setDirection 0 sendrecv & alice setDirection 1 sendrecv",
            *exchange("bob", "alice"),
            "alice setDirection 0 inactive & alice setDirection 1 recvonly",
            "bob setDirection 0 inactive & bob setDirection 1 recvonly",
            *exchange("alice", "bob"),
        ],
        [*COMMON],
    ),
    Script(
        "stopped-by-the-offerer",
        [
            "alice addTransceiver audio & alice addTransceiver video",
            "alice createDataChannel",
            *exchange("alice", "bob"),
            "alice stop 1",
            # Nothing undoes it.
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "alice setLocalDescription rollback",
            "bob setRemoteDescription rollback",
            *exchange("alice", "bob"),
            *exchange("bob", "alice"),
            # Its section is used again.
            "alice addTransceiver video",
            *exchange("alice", "bob"),
            *exchange("bob", "alice"),
        ],
        [
            *COMMON,
            Known(FIRED_AFTER_ROLLBACK, "needed", "1", "0", "bob", (11,)),
            stopped("alice", "video 1 stopped sendonly", "video 1 sendrecv sendonly"),
            stopped("alice", "", "video 1 sendrecv inactive"),
            stopped(
                "alice", "video 1 stopped stopped", "video 1 sendrecv inactive", 17
            ),
            stopped(
                "alice",
                "video - sendrecv -",
                "video 1 sendrecv inactive, video - sendrecv -",
            ),
            stopped(
                "alice",
                "video 3 sendrecv -",
                "video - sendrecv -, video 3 sendrecv -",
            ),
            stopped(
                "alice",
                "video 3 sendrecv sendonly",
                "video - sendrecv -, video 3 sendrecv sendonly",
            ),
            stopped(
                "bob", "video 1 stopped stopped", "video 1 recvonly recvonly", 11, 12
            ),
            stopped("bob", "video 1 stopped stopped", "video 1 recvonly inactive"),
            stopped("bob", "", "video 1 recvonly inactive"),
            stopped(
                "bob",
                "video 3 recvonly -",
                "video - recvonly -, video 3 recvonly -",
            ),
            stopped(
                "bob",
                "video 3 recvonly recvonly",
                "video - recvonly -, video 3 recvonly recvonly",
            ),
        ],
    ),
    Script(
        "stopped-by-the-answerer",
        [
            "alice addTransceiver audio & alice addTransceiver video",
            "alice createDataChannel",
            *exchange("alice", "bob"),
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob stop 1",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            *exchange("bob", "alice"),
        ],
        [
            *COMMON,
            Known(STOPPED_LATER, "needed", "1", "0", "bob", (10,)),
            stopped("bob", "video 1 stopped recvonly", "video 1 recvonly recvonly", 9),
            stopped("bob", "video 1 stopped inactive", "video 1 recvonly inactive"),
            stopped(
                "alice", "video 1 stopped stopped", "video 1 sendrecv inactive", 13
            ),
            stopped("alice", "", "video 1 sendrecv inactive", 14, 15),
            stopped("bob", "", "video 1 recvonly inactive", 15),
        ],
    ),
    Script(
        "stopped-before-it-was-offered",
        [
            "alice createDataChannel & alice addTransceiver audio",
            "alice stop 0",
            *exchange("alice", "bob"),
        ],
        [
            *COMMON,
            Known(
                STOPPED,
                "transceivers",
                "audio - stopped -",
                "audio - sendrecv -",
                "alice",
            ),
            Known(FIRED_FOR_STOPPED, "needed", "1", "0", "alice", (6,)),
        ],
    ),
    Script(
        "no-description-in-each-state",
        [
            "alice addTransceiver audio & alice createDataChannel",
            # An offer in stable, and a new one in have-local-offer.
            "alice setLocalDescription",
            "alice addTransceiver video",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            # An answer, and an offer again.
            "bob setLocalDescription",
            "bob setLocalDescription",
            "bob setLocalDescription rollback",
            "alice setRemoteDescription answer",
            # An answer after a provisional one, which its receiver cannot follow.
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob createAnswer",
            "bob setLocalDescription pranswer",
            "alice setRemoteDescription pranswer",
            "alice setLocalDescription",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
        ],
        [*COMMON],
    ),
    Script(
        "forbidden-descriptions",
        [
            *CONNECT,
            "alice createOffer",
            # In stable.
            "bob setRemoteDescription offer",
            "bob createAnswer",
            "bob setRemoteDescription rollback",
            "alice createAnswer",
            "bob setLocalDescription answer",
            "bob setLocalDescription pranswer",
            "bob setLocalDescription rollback",
            "alice setRemoteDescription answer",
            "alice setRemoteDescription pranswer",
            "alice setRemoteDescription rollback",
            # In have-local-offer.
            "bob createOffer",
            "alice setLocalDescription",
            "alice createAnswer",
            "bob setLocalDescription",
            "bob setLocalDescription answer",
            "bob setLocalDescription pranswer",
            # In have-remote-offer.
            "bob setLocalDescription rollback",
            "bob setRemoteDescription offer",
            "bob setLocalDescription offer",
            "bob setRemoteDescription offer",
            "bob setLocalDescription",
            "alice setRemoteDescription answer",
            "alice setRemoteDescription answer",
        ],
        [*COMMON],
    ),
    Script(
        "closed",
        [
            *CONNECT,
            "alice createOffer",
            "alice restartIce",
            "alice close",
            "alice close",
            "alice restartIce",
            "alice addTransceiver audio",
            "alice addTrack audio",
            "alice createOffer",
            "alice createAnswer",
            "alice setLocalDescription",
            "alice setLocalDescription offer",
            "alice setLocalDescription rollback",
            "alice setRemoteDescription answer",
            "alice setRemoteDescription rollback",
        ],
        [
            *COMMON,
            Known(CLOSED_TOGETHER, "ice", "connected", "closed", "bob"),
            Known(CLOSED_TOGETHER, "signaling", "stable", "closed", "bob"),
            Known(
                STOPPED,
                "transceivers",
                "audio - stopped stopped",
                "audio 0 sendrecv sendonly",
                "alice",
            ),
        ],
    ),
    Script(
        "offer-created-in-have-remote-offer",
        [
            "alice addTransceiver audio",
            "alice setLocalDescription",
            "bob setRemoteDescription offer",
            "bob createOffer",
        ],
    ),
    Script(
        "channel-created-after-close",
        ["alice close", "alice createDataChannel"],
    ),
    Script(
        "trickled-candidates",
        [
            "alice addTransceiver audio & alice createDataChannel",
            *trickled_exchange("alice", "bob"),
            # A restart by either.
            "alice restartIce",
            *trickled_exchange("alice", "bob"),
            "bob restartIce",
            *trickled_exchange("bob", "alice"),
            # Nothing is gathered.
            *trickled_exchange("alice", "bob"),
        ],
        TRICKLED,
        trickles=True,
    ),
    Script(
        "rollback-while-gathering",
        [
            "alice createDataChannel",
            "alice setLocalDescription & alice setLocalDescription rollback",
        ],
        [
            Known(TOLD_BETWEEN, "events", None, "set- gathering- set- new-"),
        ],
        trickles=True,
    ),
    Script(
        "rollback-of-a-restart-while-gathering",
        [
            "alice createDataChannel",
            *trickled_exchange("alice", "bob"),
            "alice restartIce",
            "alice setLocalDescription & alice setLocalDescription rollback",
            *trickled_exchange("alice", "bob"),
        ],
        [
            *TRICKLED,
            Known(TOLD_BETWEEN, "events", None, "set- gathering- set+ complete+ none+"),
        ],
        trickles=True,
    ),
]
