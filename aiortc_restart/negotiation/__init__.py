"""
What the two sides have agreed: no sockets (RFC 9429, webrtc-pc).
"""
