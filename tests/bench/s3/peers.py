"""How each tool is run: its command lines, at settings that were the fastest of those tried on two cores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import s3_servers
from tests.bench.s3 import tools
from tests.bench.s3.trees import Tree
from tests.s3_servers import BUCKET, Server

# The project's package is found from here.
ROOT = Path(__file__).parent.parent.parent.parent


@dataclass(frozen=True)
class Place:
    """Where one tool works in one round.

    Attributes:
        server: Its own, fresh server.
        folder: Its own, for caches and the like.
    """

    server: Server
    folder: Path

    @property
    def remote(self) -> str:
        """Bucket and prefix."""
        return f"{BUCKET}/bench"


@dataclass(frozen=True)
class Command:
    """One run of a tool.

    Attributes:
        argv: What is started.
        environment: Added to the server's credentials.
        cwd: Where.
    """

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path = ROOT


@dataclass(frozen=True)
class Tool:
    """A way to send a directory to S3 and to bring it back.

    Attributes:
        name: As in the table.
        program: Its executable.
        send: The first dehydration.
        again: A later one, over what the first has left there.
        fetch: The hydration, into a directory that is not there.
        prepare: What is needed once and not timed.
    """

    name: str
    program: Path
    send: Callable[[Place, Tree], Command]
    again: Callable[[Place, Tree], Command]
    fetch: Callable[[Place, Tree, Path], Command]
    prepare: Callable[[Place], Command] | None = None


def modhub() -> Tool:
    def command(place: Place, what: str, path: Path) -> Command:
        arguments = [what, place.server.uri("bench"), str(path), str(place.folder)]
        return Command([sys.executable, "-m", "tests.bench.s3.modhub_process", *arguments])

    return Tool(
        "modhub",
        Path(sys.executable),
        send=lambda place, tree: command(place, "dehydrate", tree.path),
        again=lambda place, tree: command(place, "dehydrate", tree.path),
        fetch=lambda place, _, path: command(place, "hydrate", path),
    )


def s5cmd() -> Tool:
    program = tools.locate("s5cmd")

    def command(place: Place, *arguments: str) -> Command:
        return Command([str(program), "--endpoint-url", place.server.endpoint, "--numworkers", "16", *arguments])

    return Tool(
        "s5cmd",
        program,
        send=lambda place, tree: command(place, "cp", f"{tree.path}/", f"s3://{place.remote}/"),
        again=lambda place, tree: command(place, "sync", f"{tree.path}/", f"s3://{place.remote}/"),
        fetch=lambda place, _, path: command(place, "cp", f"s3://{place.remote}/*", f"{path}/"),
    )


def rclone() -> Tool:
    program = tools.locate("rclone")
    # Without a HEAD after each upload it is faster by half.
    options = ["--transfers", "16", "--checkers", "16", "--fast-list", "--s3-no-check-bucket", "--s3-no-head"]

    def command(place: Place, *arguments: str) -> Command:
        environment = {
            "RCLONE_CONFIG": str(place.folder / "rclone.conf"),
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": place.server.endpoint,
            "RCLONE_CONFIG_BENCH_REGION": s3_servers.REGION,
        }
        return Command([str(program), *arguments, *options], environment)

    return Tool(
        "rclone",
        program,
        send=lambda place, tree: command(place, "sync", str(tree.path), f"bench:{place.remote}"),
        again=lambda place, tree: command(place, "sync", str(tree.path), f"bench:{place.remote}"),
        fetch=lambda place, _, path: command(place, "sync", f"bench:{place.remote}", str(path)),
    )


def restic() -> Tool:
    program = tools.locate("restic")

    def command(place: Place, *arguments: str, cwd: Path = ROOT) -> Command:
        environment = {
            "RESTIC_REPOSITORY": f"s3:{place.server.endpoint}/{place.remote}",
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(place.folder / "cache"),
        }
        # The trees can't be compressed: trying costs only time. More connections than its five were not faster.
        argv = [str(program), "--quiet", "--compression", "off", *arguments]
        return Command(argv, environment, cwd)

    def backup(place: Place, tree: Tree) -> Command:
        return command(place, "backup", "--host", "bench", ".", cwd=tree.path)

    return Tool(
        "restic",
        program,
        send=backup,
        again=backup,
        # Brought back elsewhere: without the cache of the backup.
        fetch=lambda place, _, path: command(place, "restore", "latest", "--no-cache", "--target", str(path)),
        prepare=lambda place: command(place, "init"),
    )


def aws() -> Tool:
    program = tools.locate("aws")

    def command(place: Place, *arguments: str) -> Command:
        # max_concurrent_requests stays at its default, 10: 16 were not faster.
        environment = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        common = ["--endpoint-url", place.server.endpoint, "s3", "sync", "--only-show-errors"]
        return Command([str(program), *common, *arguments], environment)

    return Tool(
        "aws",
        program,
        send=lambda place, tree: command(place, str(tree.path), f"s3://{place.remote}"),
        again=lambda place, tree: command(place, str(tree.path), f"s3://{place.remote}"),
        fetch=lambda place, _, path: command(place, f"s3://{place.remote}", str(path)),
    )


def curl() -> Tool:
    """The floor: the same bytes as few large objects, over eight connections. It keeps no tree."""
    program = tools.locate("curl")

    def send(place: Place, tree: Tree) -> Command:
        urls = [
            word
            for path in sorted(tree.objects.iterdir())
            for word in ("-T", str(path), f"{place.server.endpoint}/{place.remote}/{path.name}")
        ]
        return Command([str(program), *_curl(place, 8), *urls])

    def fetch(place: Place, tree: Tree, path: Path) -> Command:
        urls = [
            word
            for item in sorted(tree.objects.iterdir())
            for word in ("-o", str(path / item.name), f"{place.server.endpoint}/{place.remote}/{item.name}")
        ]
        return Command([str(program), "--create-dirs", *_curl(place, 8), *urls])

    return Tool("floor", program, send=send, again=send, fetch=fetch)


def many_objects(place: Place, prefix: str, count: int) -> Command:
    """Put many small objects below a prefix of the bucket, quickly."""
    content = place.folder / "content"
    content.write_bytes(b"x" * 64)
    lines = [
        line
        for number in range(count)
        for line in (f'upload-file = "{content}"', f'url = "{place.server.endpoint}/{BUCKET}/{prefix}{number:064x}"')
    ]
    config = place.folder / "config"
    config.write_text("\n".join(lines))
    return Command([str(tools.locate("curl")), *_curl(place, 32), "-K", str(config)])


def _curl(place: Place, connections: int) -> list[str]:
    # Credentials are not for a command line, where every user of the machine reads them.
    secret = place.folder / "credentials"
    secret.write_text(f'user = "{s3_servers.ACCESS_KEY}:{s3_servers.SECRET_KEY}"\n')
    return [
        *("--silent", "--show-error", "--fail", "--parallel", "--parallel-max", str(connections)),
        *("--aws-sigv4", f"aws:amz:{s3_servers.REGION}:s3", "-K", str(secret)),
    ]


PEERS: dict[str, Callable[[], Tool]] = {
    "modhub": modhub,
    "s5cmd": s5cmd,
    "rclone": rclone,
    "restic": restic,
    "aws": aws,
    "floor": curl,
}
