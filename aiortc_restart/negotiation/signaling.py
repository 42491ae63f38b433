"""
The signaling states, and which description leads from which to which (webrtc-pc
#dom-rtcsignalingstate).
"""

TRANSITIONS = {
    ("stable", "local", "offer"): "have-local-offer",
    ("stable", "remote", "offer"): "have-remote-offer",
    ("have-local-offer", "local", "offer"): "have-local-offer",
    ("have-local-offer", "local", "rollback"): "stable",
    ("have-local-offer", "remote", "answer"): "stable",
    ("have-local-offer", "remote", "pranswer"): "have-remote-pranswer",
    ("have-local-offer", "remote", "rollback"): "stable",
    ("have-remote-offer", "local", "answer"): "stable",
    ("have-remote-offer", "local", "pranswer"): "have-local-pranswer",
    ("have-remote-offer", "local", "rollback"): "stable",
    ("have-remote-offer", "remote", "offer"): "have-remote-offer",
    ("have-remote-offer", "remote", "rollback"): "stable",
    ("have-local-pranswer", "local", "answer"): "stable",
    ("have-local-pranswer", "local", "pranswer"): "have-local-pranswer",
    ("have-remote-pranswer", "remote", "answer"): "stable",
    ("have-remote-pranswer", "remote", "pranswer"): "have-remote-pranswer",
}
"""
The next state by state, side and type of a description. What is not here is an error;
nothing leads out of "closed".
"""

ANSWERED = ("have-remote-offer", "have-local-pranswer")
"The states in which the description that this side sets next is an answer."

OFFERED = ("have-local-offer", "have-remote-offer")
"The states in which there is an offer and no answer of any kind."

OFFERING = ("stable", "have-local-offer")
"""
The states in which an offer may be made (webrtc-pc #dom-rtcpeerconnection-createoffer).
"""
