"""Where a request is bound for: the module, and the target on its instance, byte for byte as the client wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from hub.config import check_module_id
from hub.errors import ModuleNotFound
from hub.http.paths import VIRTUAL_HOST
from hub.http.proxy.errors import BadProxyRequest

# What stands in a request line: visible ASCII. A space or a line break in it would begin another part of the head,
# a fragment is never sent, and bytes beyond ASCII are read differently by different servers.
_VISIBLE = re.compile(rb"[!-\"$-~]*")
_MAX_TARGET = 32768


class Target(NamedTuple):
    """Where a request is bound for.

    Attributes:
        module_id: the module.
        prefix: path below which the client sees the instance, without a slash at its end; empty on its virtual host.
        path: path on the instance as the client wrote it; empty if it left out the slash after the module's id.
        query: query as the client wrote it, with its `?` if there is one.
    """

    module_id: str
    prefix: bytes
    path: bytes
    query: bytes


@lru_cache(maxsize=64)
def _quoted(path: str) -> bytes:
    return quote(path, safe="/:@!$&'()*+,;=-._~").encode()


def locate(scope: Mapping[str, Any], mount: bytes) -> Target:
    """Find where a request is bound for.

    Nothing is decoded or normalised: what `%2F`, `..` and `//` mean is the instance's to say, and the module's id needs
    no encoding.

    Args:
        scope: the ASGI scope; its `root_path` ends with the path at which the proxy is mounted. With the key
            `VIRTUAL_HOST` all of its path is the instance's.
        mount: that path.

    Raises:
        ModuleNotFound: the path names no module.
        InvalidModuleId: what stands for the module's id is none.
        BadProxyRequest: there are bytes in the target that stand in no request line.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:  # a server need not tell
        raw = _quoted(scope["path"])
    query: bytes = scope.get("query_string", b"")
    if not _VISIBLE.fullmatch(raw) or not _VISIBLE.fullmatch(query) or len(raw) + len(query) > _MAX_TARGET:
        raise BadProxyRequest("the request's target has bytes that can't stand there, or is too long")
    query = b"?" + query if query else b""
    label: str | None = scope.get(VIRTUAL_HOST)
    if label is not None:
        if not raw.startswith(b"/"):  # "*", or no path
            raise BadProxyRequest("the request's target is no path")
        return Target(check_module_id(label), b"", raw, query)
    root = _quoted(scope.get("root_path", ""))
    # A server behind another one that strips a prefix has it in root_path alone.
    below = root + b"/" if raw.startswith(root + b"/") else mount + b"/"
    if not raw.startswith(below):
        raise ModuleNotFound("the path names no module", hint="it is /hub/proxy/MODULE/PATH, not percent-encoded")
    name, slash, path = raw[len(below) :].partition(b"/")
    module_id = check_module_id(name.decode())
    return Target(module_id, root + b"/" + name, slash + path, query)
