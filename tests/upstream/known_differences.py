"""
The base's tests which are meant to fail with our classes, each with the reason.
"""

#: By test; nothing but what the W3C and the RFCs demand.
KNOWN_DIFFERENCES: dict[str, str] = {
    "test_rtcpeerconnection.py::RTCPeerConnectionTest"
    "::test_setRemoteDescription_unexpected_offer": (
        "An offer that meets ours rolls ours back (webrtc-pc "
        "#dom-peerconnection-setremotedescription); the base refuses it."
    ),
    "test_rtcpeerconnection.py::RTCPeerConnectionTest"
    "::test_setRemoteDescription_no_common_audio": (
        "PCMU, PCMA and G722 need no a=rtpmap line (RFC 3551 section 6), so that there "
        "are codecs in common; the base does not know them without."
    ),
}
