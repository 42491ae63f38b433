"""
Hostile parts: peers, strangers and a man on the path, for the tests that play them
against the package.
"""
