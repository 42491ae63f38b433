"""
A call between two terminals, which survives a change of network.
"""
