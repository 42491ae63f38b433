"""
What is live: each thing has one owner and one writer.
"""

from .candidates import Candidates
from .session import Session
from .states import States
from .transports import Transports

__all__ = ["Candidates", "Session", "States", "Transports"]
