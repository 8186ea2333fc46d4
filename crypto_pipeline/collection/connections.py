"""Connections whose answers begin within bounds: http.client reads interim answers and headers for
as long as they come, and a thread that does nothing else keeps every other from the processor.

Owns: the bytes before a body, counted as they are read.
Must not know: what is asked.
"""

import http.client
from typing import IO, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

MOST_BYTES = 256_000
"""Of status lines and headers, interim ones too, before the body of one answer."""


class _Head:
    """The beginning of an answer, line by line, up to MOST_BYTES."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._left = MOST_BYTES

    def readline(self, limit: int = -1) -> bytes:
        line = self.file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException(f"more than {MOST_BYTES:,} bytes of headers")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read the status and the headers, and no more of them than is bearable."""
        whole = self.fp
        head: Any = _Head(whole)
        self.fp = head
        super().begin()
        if self.fp is head:
            self.fp = whole


class _Plain(HTTPConnection):
    response_class = _Response


class _Secure(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class BoundedAdapter(HTTPAdapter):
    """requests' adapter over such connections, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
