"""
A video call between browsers and Python, in which ICE restarts can be watched.
"""
