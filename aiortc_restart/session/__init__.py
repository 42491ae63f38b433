"""
What is live: each thing has one owner.
"""

from .session import Session

__all__ = ["Session"]
