"""What the proxy itself refuses, or could not do; all else is the hub's own error."""

from __future__ import annotations

from typing import ClassVar

from hub.errors import ModhubError


class ProxyError(ModhubError):
    """Root of the proxy's own errors.

    Attributes:
        status: status of the answer that tells it.
        title: what it is, in a few words that never change.
    """

    code = "proxy-error"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "The proxy failed"


class BadProxyRequest(ProxyError):
    """The request can't be passed on: its framing or a field is not valid HTTP."""

    code = "bad-request"
    status = 400
    title = "The request can't be passed on"


class MethodRefused(ProxyError):
    """`CONNECT` and `TRACE` are not passed on."""

    code = "method-refused"
    status = 501
    title = "The proxy does not pass this method on"


class WakeTimeout(ProxyError):
    """The module did not come up in `proxy_wake_timeout`; it may be up when the client asks again.

    Attributes:
        retry_after_s: seconds after which it is worth asking again.
    """

    code = "wake-timeout"
    status = 503
    title = "The module is not up yet"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class InstanceUnreachable(ProxyError):
    """The instance takes no connection, or ended it without an answer."""

    code = "instance-unreachable"
    status = 502
    title = "The instance does not answer"


class BadInstanceAnswer(ProxyError):
    """What the instance sent is not valid HTTP, or too large."""

    code = "bad-instance-answer"
    status = 502
    title = "The instance's answer can't be passed on"


class InstanceTimeout(ProxyError):
    """The instance was silent for `proxy_timeout`."""

    code = "instance-timeout"
    status = 504
    title = "The instance is silent"


class BodyTimeout(ProxyError):
    """The client paused in its request's body for `body_timeout`, and the instance had nothing to say meanwhile."""

    code = "body-timeout"
    status = 408
    title = "The request's body did not come"


PROXY_ERRORS: tuple[type[ProxyError], ...] = (
    BadProxyRequest,
    MethodRefused,
    BadInstanceAnswer,
    InstanceUnreachable,
    WakeTimeout,
    InstanceTimeout,
    BodyTimeout,
    ProxyError,
)
"""All of them, for tables."""


class ClientGone(Exception):
    """The client has closed its connection: nobody is left to answer."""
