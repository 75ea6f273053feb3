"""The way to instances: a reverse proxy for HTTP and WebSockets that wakes what sleeps."""

from hub.http.proxy.app import ProxyApp

__all__ = ["ProxyApp"]
