"""
Code that runs on a host of a network, simulated or not.
"""

import functools
import inspect
import types
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class Places:
    """
    A network with hosts.
    """

    def host(self, name: str) -> AbstractContextManager[None]:
        """
        Run the code within, and what it starts, on a host.

        :param name: The name of the host.
        """
        raise NotImplementedError

    def at(self, name: str, kind: type[T]) -> type[T]:
        """
        Return a subclass whose public methods run on a host, whoever calls them.

        :param name: The name of the host.
        :param kind: The class, such as :class:`RTCPeerConnection`.
        """
        namespace: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            if base is object or base.__module__.startswith("pyee"):
                continue
            for key, value in vars(base).items():
                if isinstance(value, types.FunctionType) and (
                    key == "__init__" or not key.startswith("_")
                ):
                    namespace[key] = self._on_host(name, value)
        return type(kind.__name__, (kind,), namespace)

    def _on_host(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            with self.host(name):
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with self.host(name):
                result = function(*args, **kwargs)
            return resume(result) if inspect.iscoroutine(result) else result

        async def resume(coroutine: Coroutine[Any, Any, Any]) -> Any:
            with self.host(name):
                return await coroutine

        return asynchronous if inspect.iscoroutinefunction(function) else synchronous
