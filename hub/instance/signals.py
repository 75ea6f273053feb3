"""Signals that a child would inherit ignored or blocked from its host, and so might never be stopped by."""

from __future__ import annotations

import signal

# Python itself ignores these, and Popen gives them back to the child.
_RESTORED = {signal.SIGPIPE, signal.SIGXFSZ}
_LOOKED_AT = sorted(signal.valid_signals() - _RESTORED)


def inherited() -> list[int]:
    """Return the signals that a child of this thread would begin with ignored or blocked; mostly there is none.

    A script ignores SIGINT for what it starts in the background, nohup(1) SIGHUP, and a host may block in all threads what
    one of them waits for.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [int(one) for one in _LOOKED_AT if one in blocked or signal.getsignal(one) is signal.SIG_IGN]
