class InvalidModificationError(Exception):
    """
    Something was to be changed which cannot be changed any more (Web IDL).
    """
