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
    **{
        f"test_rtcpeerconnection.py::RTCPeerConnectionTest::{name}": (
            "An m-section which is not negotiated yet takes no part in the state of a "
            'live call; the base throws it back to "new".'
        )
        for name in (
            "test_connect_audio_then_video",
            "test_connect_datachannel_then_audio",
        )
    },
}
