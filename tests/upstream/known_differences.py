"""
The base's tests which are meant to fail with our classes, each with the reason.
"""

#: For example `"test_ortc.py::OrtcTest::test_sctp": "what differs, and why"`.
KNOWN_DIFFERENCES: dict[str, str] = {
    f"test_rtcpeerconnection.py::RTCPeerConnectionTest::{name}": (
        "an offer that adds a section does not throw the state of a live call back to "
        '"new": the section\'s transport takes part when it is negotiated'
    )
    for name in ("test_connect_audio_then_video", "test_connect_datachannel_then_audio")
}
