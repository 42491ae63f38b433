"""
A call which restarts ICE again and again, and loses nothing.
"""
