import asyncio
from typing import Any

from pyee.asyncio import AsyncIOEventEmitter


class Emitter(AsyncIOEventEmitter):
    """
    An emitter whose handlers cannot break what emits.
    """

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        """
        Call the handlers of an event. What they raise goes to the event loop's
        exception handler, as it must not end the step which emits the event.
        """
        try:
            return super().emit(event, *args, **kwargs)
        except Exception as exc:
            if event == "error":
                # It comes from a handler of another event.
                raise
            asyncio.get_running_loop().call_exception_handler(
                {"message": f'Exception in a handler of "{event}"', "exception": exc}
            )
            return True
