"""Judge the tree as a reader would get it: no address of a package registry, no generated bulk, no stray binaries."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 100_000
MAX_LINE = 500
# Kept as they are: what a page or the dashboard shows.
BINARY_SUFFIXES = {".png", ".svg", ".ico", ".woff2"}
BUILT = {"__pycache__", "dist", "_build"}
# Where packages come from is the installing machine's business; a name here would end up in somebody's build.
REGISTRY = re.compile(
    r"""(?ix)
    \b (?: [\w-]+ \. )* (?: pypi | pythonhosted | npmjs | artifactory | nexus ) \. [a-z]{2,}
    | https?:// [^\s"'<>]* / simple (?: / | \b )
    | https?:// (?: [^/\s]*\. )? registry \.
    | ^ \s* -- (?: extra-)? index-url | ^ \s* -- find-links | "resolved" \s* :
    """,
    re.MULTILINE,
)


def files() -> list[Path]:
    """What git would commit; without git (an unpacked archive) all but what is built or hidden."""
    listing = (
        subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if (ROOT / ".git").exists()
        else None
    )
    if listing is not None and listing.returncode == 0:
        return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not any(map(skipped, path.relative_to(ROOT).parts))]


def skipped(part: str) -> bool:
    return part in BUILT or (part.startswith(".") and part not in {".ci", ".gitignore"})


def faults(path: Path) -> list[str]:
    name = path.relative_to(ROOT)
    content = path.read_bytes()
    found = [f"{name}: {len(content)} bytes; generated files are not kept"] if len(content) > MAX_BYTES else []
    if path.suffix in BINARY_SUFFIXES:
        return found
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return [*found, f"{name}: binary"]
    found += [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: names a package registry" for hit in REGISTRY.finditer(text)
    ]
    if any(len(line) > MAX_LINE for line in text.splitlines()) and path.suffix != ".md":
        found.append(f"{name}: lines of over {MAX_LINE} characters look generated")
    return found


def main() -> None:
    found = [fault for path in files() for fault in faults(path)]
    if found:
        sys.exit("\n".join(found))


main()
