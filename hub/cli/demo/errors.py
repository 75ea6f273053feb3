"""What ends the demo beyond the hub's own errors."""

from hub.errors import ModhubError


class CheckFailed(ModhubError):
    """A check of the demo did not hold."""

    code = "check-failed"
