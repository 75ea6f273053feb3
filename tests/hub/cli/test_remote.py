"""The commands against a real hub, as a user gives them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.cli.conftest import clean_environment
from tests.hub.cli.serving import Served, command, modhub, served, until
from tests.hub.cli.test_serve import slow_kind

_MUTE = '[kinds.mute]\ncommand = ["/bin/sh", "-c", "echo no licence; exec sleep 60"]\nstart_timeout = 0.7\n'


@pytest.fixture(scope="module")
def hub() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="modhub-test-") as made:
        folder = Path(made)
        folder.chmod(0o711)  # PostgreSQL does not run as root, and has to get there
        with served(folder, config=slow_kind(folder) + _MUTE) as running:
            yield running
            assert running.end() == 0


@pytest.mark.parametrize("kind", ["store", "redis", "postgres"])
def test_a_module_is_led_through_its_life(hub: Served, kind: str) -> None:
    """Each operation says what came of it, in words and as JSON; the exit code is 0."""
    name = f"life-{kind}"
    up = hub.cli("provision", name, "--kind", kind)
    assert (up.returncode, up.stderr) == (0, "")
    assert f"{name}  provisioned  {kind}  http://127.0.0.1:" in up.stdout
    assert hub.json("status", name)["kind"] == kind
    assert hub.json("hibernate", name)["outcomes"][0]["module"]["state"] == "hibernated"
    assert hub.json("checkpoint", name)["outcomes"][0]["module"]["checkpointed_at"] > 0
    assert "provisioned" in hub.cli("wake", name).stdout
    assert "unprovisioned" in hub.cli("deprovision", name).stdout
    gone = hub.json("obliterate", name, "--yes")
    assert gone["ok"]
    assert gone["outcomes"][0]["obliterated"]["blobs"] > 0
    assert hub.cli("status", name).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("wake", "nobody"), 3, "error: nobody: wake: the hub tracks no module 'nobody'\nhint: "),
        (("status", "nobody"), 1, "error: "),
        (("hibernate", "Bad_id"), 2, "'Bad_id' is no module id"),
        (("provision", "x", "--kind", "nosuch"), 2, "nosuch"),
        (("provision",), 2, "missing argument"),
        (("obliterate", "x"), 2, "there is no terminal to ask on"),
        (("status", "--sort", "size"), 2, "allowed: module_id"),
        (("status", "--url", "ftp://x"), 2, "is no URL of a hub"),
        (("status", "--url", "http://user:word@127.0.0.1"), 2, "--token-file"),
        (("status", "--url", "http://127.0.0.1:1"), 1, "no hub answers at http://127.0.0.1:1\nhint: `modhub serve`"),
        (("status", "--token-file", "/nowhere"), 2, "/nowhere can't be read"),
        (("completion", "tcsh"), 2, "tcsh"),
        (("token", "a b"), 2, "can't name a token"),
    ],
)
def test_an_exit_code_says_what_went_wrong(hub: Served, arguments: tuple[str, ...], code: int, said: str) -> None:
    """1 failed, 2 wrong usage, 3 refused by the state; one line says why, and a hint what to do; stdout stays empty."""
    done = hub.cli(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "word@" not in done.stderr


def test_a_refusal_by_the_state_is_told_apart(hub: Served) -> None:
    """3: another kind, or nothing that could sleep; of several names the worst counts, and each is told."""
    assert hub.cli("provision", "kinds").returncode == 0
    other = hub.cli("provision", "kinds", "--kind", "redis")
    assert other.returncode == 3, other.stderr
    several = hub.cli("hibernate", "kinds", "nobody-1")
    assert several.returncode == 3
    assert "kinds  hibernated" in several.stdout
    assert "error: nobody-1: " in several.stderr
    outcomes = json.loads(hub.cli("wake", "kinds", "nobody-1", "--json").stdout)
    assert not outcomes["ok"]
    assert [outcome["status"] for outcome in outcomes["outcomes"]] == ["done", "failed"]
    assert outcomes["outcomes"][1]["problem"]["code"] == "module-not-found"
    hub.cli("obliterate", "kinds", "--yes")


def test_a_server_that_does_not_start_is_told_alike_however_late(hub: Served) -> None:
    """Its last output and the hint stand on lines of their own, and in JSON as fields, though the failure was asked for later."""
    told = hub.cli("provision", "silent", "--kind", "mute").stderr
    assert re.fullmatch(
        r"error: silent: provision of module 'silent': '/bin/sh' was not ready \(tcp\) within 0.7 s\n"
        r"its last output:\n    no licence\nhint: it does not listen on port .*\n",
        told,
    ), told
    problem = json.loads(hub.cli("provision", "silent", "--kind", "mute", "--json").stdout)["outcomes"][0]["problem"]
    assert problem["hint"].startswith("it does not listen")
    assert problem["detail"].endswith("within 0.7 s")


def test_an_operation_that_nobody_waits_for(hub: Served) -> None:
    """--no-wait tells its id; `operations` lists it; --timeout and Ctrl-C leave it going on, and say so."""
    go = hub.folder / "go"
    go.unlink(missing_ok=True)
    begun = hub.json("provision", "slow", "--kind", "slow", "--no-wait")["outcomes"][0]
    assert begun["status"] == "accepted"
    assert [info["op_id"] for info in hub.json("operations")["operations"]] == [begun["op_id"]]
    late = hub.cli("provision", "slow", "--timeout", "0.3")
    assert late.returncode == 1
    # The hub's own deadline and the command's are the same: who says it first is not settled.
    assert re.search(r"is not done after 0.3 s|was not started: its deadline passed", late.stderr), late.stderr
    waiting = subprocess.Popen(
        command("provision", "slow2", "--kind", "slow", "--url", hub.url),
        env=clean_environment(hub.folder, {}),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(hub.json("operations")["operations"]) == 2, "the second one is at work")
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    # The second where the signal came before the hub's answer.
    assert re.search(r"provision of slow2 (goes on as operation [0-9a-f]{16}|may go on)", told), told
    assert len(hub.json("operations")["operations"]) == 2
    go.touch()
    until(lambda: not hub.json("operations")["operations"], "both have ended")
    assert hub.json("status", "slow2")["state"] == "provisioned"
    assert hub.cli("obliterate", "slow", "slow2", "--yes").returncode == 0


def test_many_modules_are_listed_on_all_pages(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters, order and a limit; more than fit a page are all shown."""
    monkeypatch.setattr("hub.cli.remote.listing._PAGE", 2)
    names = [f"many-{number}" for number in range(6)]
    assert hub.cli("provision", *names).returncode == 0
    found = hub.json("status", "--search", "many-", "--sort", "-module_id")
    assert [module["module_id"] for module in found["modules"]] == names[::-1]
    few = hub.cli("status", "--search", "many-", "--limit", "2")
    assert few.stdout.count("many-") == 2
    assert "4 more" in few.stderr
    table = hub.cli("status", "--state", "provisioned", "--kind", "store").stdout.splitlines()
    assert table[0].split()[:4] == ["MODULE", "KIND", "STATE", "PORT"]
    assert "no module is so" in hub.cli("status", "--search", "none-such").stderr
    assert hub.cli("obliterate", "--yes", *names).returncode == 0


def test_events_are_shown_and_followed(hub: Served) -> None:
    """What happened, of all or of one module; and what happens, a line each, until Ctrl-C."""
    assert hub.cli("provision", "told").returncode == 0
    page = hub.json("events", "--module", "told")
    assert {event["module_id"] for event in page["events"]} == {"told"}
    following = subprocess.Popen(
        command("events", "--follow", "--lines", "1", "--module", "told", "--json", "--url", hub.url),
        env=clean_environment(hub.folder, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["module_id"] == "told"  # what came before is there: now the rest
    assert hub.cli("hibernate", "told").returncode == 0
    assert hub.cli("wake", "told").returncode == 0
    seen: set[str] = set()
    while not {"hibernated", "provisioned"} <= seen:
        event = json.loads(following.stdout.readline())
        assert event["module_id"] == "told"
        seen.add(event["fields"].get("to_state", ""))
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=20)
    assert following.returncode == 130
    assert "module.transition" in hub.cli("events", "-n", "3", "--module", "told").stdout
    hub.cli("obliterate", "told", "--yes")


def test_a_log_is_shown_and_followed(hub: Served) -> None:
    """The last lines, and those that come."""
    assert hub.cli("provision", "wordy", "--kind", "redis").returncode == 0
    shown = hub.cli("logs", "wordy", "-n", "2").stdout.splitlines()
    assert len(shown) == 2
    assert "Ready to accept connections" in shown[-1]
    assert hub.cli("logs", "wordy", "-n", "0").stdout == ""
    following = subprocess.Popen(
        command("logs", "wordy", "--follow", "-n", "1", "--url", hub.url),
        env=clean_environment(hub.folder, {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert "Ready to accept" in following.stdout.readline()
    assert hub.cli("hibernate", "wordy").returncode == 0
    text = ""
    while "Redis is now ready to exit" not in text:
        line = following.stdout.readline()
        assert line, text
        text += line
    following.send_signal(signal.SIGTERM)
    following.communicate(timeout=20)
    assert following.returncode == 143
    hub.cli("obliterate", "wordy", "--yes")


def test_top_without_a_terminal_prints_once(hub: Served) -> None:
    """In a pipe it is a table, or JSON, and ends."""
    assert hub.cli("provision", "busy").returncode == 0
    done = hub.cli("top", "--sort", "module_id")
    assert (done.returncode, done.stderr) == (0, "")
    assert "busy" in done.stdout
    assert "\x1b" not in done.stdout
    told = hub.json("top", "--sort", "-module_id")
    assert "busy" in [module["module_id"] for module in told["modules"]]
    assert told["total"] == len(told["modules"])
    assert told["hub"]["states"]["provisioned"] >= 1
    hub.cli("obliterate", "busy", "--yes")


def test_a_reader_that_leaves_is_no_error(hub: Served) -> None:
    """`modhub events | head -1` says nothing on stderr."""
    reading = subprocess.Popen(
        command("events", "-n", "1000", "--json", "--follow", "--url", hub.url),
        env=clean_environment(hub.folder, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert reading.stdout is not None
    assert reading.stderr is not None
    assert reading.stdout.readline()
    reading.stdout.close()
    until(lambda: hub.cli("provision", "piped").returncode == 0, "something happens")
    until(lambda: hub.cli("obliterate", "piped", "--yes").returncode == 0, "something else happens")
    assert reading.wait(20) == 1
    assert reading.stderr.read() == b""
    reading.stderr.close()


def test_names_are_completed_from_the_hub(hub: Served) -> None:
    """A shell that asks gets the modules' names; where no hub answers it gets nothing, and no noise."""
    assert hub.cli("provision", "complete-me").returncode == 0
    asked = {"COMP_WORDS": "modhub hibernate comp", "COMP_CWORD": "2", "_MODHUB_COMPLETE": "bash_complete"}
    assert modhub(hub.folder, **asked, MODHUB_URL=hub.url).stdout == "plain,complete-me\n"
    silent = modhub(hub.folder, **asked, MODHUB_URL="http://127.0.0.1:1")
    assert (silent.stdout.strip(), silent.stderr) == ("", "")
    hub.cli("obliterate", "complete-me", "--yes")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(hub: Served, shell: str) -> None:
    """Each shell gets its own."""
    done = hub.cli("completion", shell)
    assert done.returncode == 0
    assert "_MODHUB_COMPLETE" in done.stdout


def test_bash_completes_by_the_script(hub: Served, tmp_path: Path) -> None:
    """Bash itself, having read the script, completes a command's name."""
    script = hub.cli("completion", "bash").stdout
    program = tmp_path / "modhub"
    program.write_text(f'#!/bin/sh\nexec {" ".join(command())} "$@"\n')
    program.chmod(0o755)
    test = f"{script}\nCOMP_WORDS=(modhub depro)\nCOMP_CWORD=1\n_modhub_completion modhub depro modhub\necho ${{COMPREPLY[@]}}\n"
    done = subprocess.run(
        ["bash", "--norc"],
        input=test,
        env=clean_environment(tmp_path, {"PATH": f"{tmp_path}:{os.environ['PATH']}"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "deprovision\n", done.stderr
