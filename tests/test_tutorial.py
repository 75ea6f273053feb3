import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """The tutorial's program, copied from the page with what is added to it, runs to its end and prints what the page leads one to expect."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    program = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path)},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.findall(r"^(\w[\w ]*?)[:;]", ended.stdout, re.MULTILINE) == [
        "runs",
        "asleep",
        "awake",
        "sent home",
        "back",
        "obliterated",
        "restarted",
    ]
    assert ended.stdout.count("b'hello'") == 2
