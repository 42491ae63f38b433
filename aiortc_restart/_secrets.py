import re

SECRETS = re.compile(r"(a=(?:ice-pwd|crypto):)[^\r\n]+")
"""
What is not shown of a description. It is found anywhere in a line, because aiortc's
parser begins lines after more characters than a regular expression does, and because an
exception may repeat a description whose line breaks have been lost.
"""


def redacted(text: str) -> str:
    """
    Return a text without the passwords and keys of the descriptions in it.
    """
    return SECRETS.sub(r"\1***", text)


def reason(exc: Exception) -> str:
    """
    Return what an exception says, without secrets.
    """
    return redacted(str(exc)) or type(exc).__name__


def showable(exc: Exception) -> Exception | None:
    """
    Return an exception, to be the cause of another one, unless it has secrets in it.
    """
    return exc if redacted(str(exc)) == str(exc) else None
