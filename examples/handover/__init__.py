"""
A call that moves from Wi-Fi to LTE and back, on one Linux machine.
"""
