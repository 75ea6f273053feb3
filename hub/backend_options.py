"""Checks of what a configuration says of the backend. No error repeats a value: a secret may be among them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from backends import BackendsError, open_store
from hub.errors import InvalidConfig


def check_options(value: object) -> Mapping[str, Any]:
    """Check that options are options at all.

    Args:
        value: what was given as `backend_options`.

    Returns:
        The options, unchangeable.

    Raises:
        InvalidConfig: they can't be.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in cast("Mapping[object, Any]", value)):
        raise InvalidConfig("backend_options can't be used", hint="allowed: a table of options by name")
    return MappingProxyType(dict(cast("Mapping[str, Any]", value)))


def check_opens(uri: str, options: Mapping[str, Any]) -> None:
    """Check that there is a store for a URI and its options. Touches nothing.

    Args:
        uri: the backend's URI.
        options: its options.

    Raises:
        InvalidConfig: there is none; the error names what is at fault.
    """
    refused = _refusal(uri, options)
    if refused is None:
        return
    if _refusal(uri, {}) is not None:
        # Its message never repeats the URI: there may be a secret in what was meant as one.
        raise InvalidConfig(f"backend can't be used: {refused}", hint=refused.hint) from refused
    wrong = [key for key in options if _refusal(uri, {key: options[key]}) is not None]
    names = " and ".join(wrong or options)
    raise InvalidConfig(f"backend_options: {names} can't be used: {refused}", hint=refused.hint) from refused


def _refusal(uri: str, options: Mapping[str, Any]) -> BackendsError | None:
    try:
        open_store(uri, **options)
    except BackendsError as error:
        return error
    except TypeError:
        # A plugin's factory whose parameters are its options; what Python says of it might repeat a value.
        return BackendsError("the backend takes no such option", hint="See the documentation of the backend.")
    return None
