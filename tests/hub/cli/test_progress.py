"""The progress bar: what it shows, and that it leaves nothing on the terminal."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from backends import Progress
from hub.cli.progress import draw, progress_bar
from hub.cli.terminal import ASCII, UNICODE

MB = 1_000_000


class _Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_it_shows_bytes_rate_and_time_left() -> None:
    """Half way through 100 MB after 5 seconds: share, bytes, rate and the remaining time."""
    line = draw(Progress("verify", 50 * MB, 100 * MB, 1, 2, 5.0), "tenant", 100, UNICODE)
    assert line == "tenant  ████████████░░░░░░░░░░░░   50%  50.0 MB of 100.0 MB  10.0 MB/s  5 s left"


def test_what_is_unknown_is_not_shown() -> None:
    """Without totals there is no bar; without time there is no rate; objects count where bytes don't."""
    assert draw(Progress("list", 0, 0, 0, 0), "m", 80, UNICODE) == "m  list"
    assert draw(Progress("scan", 0, 0, 7, 0), "m", 80, UNICODE) == "m  scan  7"
    assert draw(Progress("list", 0, 0, 5, 10), "m", 40, ASCII) == "m  ###########===========   50%  5 of 10"
    assert "/s" not in draw(Progress("verify", MB, 10 * MB, 0, 0, 0.01), "m", 80, UNICODE)


def test_long_times_are_readable() -> None:
    """The remaining time is told in seconds, minutes or hours."""
    for total, left in ((11, "10 s"), (100, "1 min 39 s"), (10_000, "2 h 46 min")):
        assert f"{left} left" in draw(Progress("x", MB, total * MB, 0, 0, 1.0), "m", 100, UNICODE)


progresses = st.builds(
    Progress,
    st.just("verify"),
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.floats(0, 10**7),
)


@given(progresses, st.text("m", max_size=63), st.integers(10, 100))
def test_it_always_fits_the_line(progress: Progress, label: str, width: int) -> None:
    """Whatever the numbers and the width, the line is no longer than the terminal."""
    assert len(draw(progress, label, width, UNICODE)) <= width


def test_it_is_wiped_at_the_end_and_stands_aside() -> None:
    """What is written meanwhile stands on lines of its own, and at the end the bar's line is empty."""
    screen = _Screen()
    with progress_bar("m", screen, {}) as bar:
        bar(Progress("verify", 1, 2, 0, 0))
        with bar.aside():
            screen.write("found\n")
    shown = screen.getvalue()
    assert "\r\x1b[Kfound\n" in shown
    assert shown.endswith("\r\x1b[K")


def test_it_is_for_terminals_only() -> None:
    """Nothing is written to what is no terminal, nor to a dumb one."""
    for stream, environment in ((io.StringIO(), {}), (_Screen(), {"TERM": "dumb"})):
        with progress_bar("m", stream, environment) as bar:
            bar(Progress("verify", 1, 2, 0, 0))
            with bar.aside():
                pass
        assert stream.getvalue() == ""
