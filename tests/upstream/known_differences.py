"""
The base's tests which are meant to fail with our classes, each with the reason.
"""

#: By test; nothing but what the W3C demands.
KNOWN_DIFFERENCES: dict[str, str] = {
    "test_rtcpeerconnection.py::RTCPeerConnectionTest"
    "::test_setRemoteDescription_unexpected_offer": (
        "An offer that meets ours rolls ours back (webrtc-pc "
        "#dom-peerconnection-setremotedescription); the base refuses it."
    ),
}
