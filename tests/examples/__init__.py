"""
The programs in `examples/`, used as a person would use them.
"""
