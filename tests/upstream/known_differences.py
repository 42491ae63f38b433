"""
The base's tests which are meant to fail with our classes, each with the reason.
"""

#: For example `"test_ortc.py::OrtcTest::test_sctp": "what differs, and why"`.
KNOWN_DIFFERENCES: dict[str, str] = {}
