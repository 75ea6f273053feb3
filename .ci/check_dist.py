"""Compare what was built with what is in the tree: nothing missing, nothing that nobody put there."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "backends", "hub")
SUFFIXES = {".py", ".sh", ".typed", ".html", ".css", ".js", ".svg", ".sql", ".toml"}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
REQUIRED = {f"{package}/py.typed" for package in PACKAGES} | {
    "hub/kinds/store.py",
    "hub/kinds/objectstore/__main__.py",
    "hub/kinds/postgresql/start.sh",
}
SDIST_FILES = {"CHANGELOG.md", "LICENSE", "README.md", "Makefile", "constraints.txt", "pyproject.toml"}
SDIST_FOLDERS = {*PACKAGES, ".ci", "docs", "tests"}
# What a run leaves in the tree and git ignores: of the interpreter, of the docs, pictures of the browser tests.
BUILT = {"__pycache__", "_build", "artefacts"}
GENERATED = {"PKG-INFO", ".gitignore"}


def in_tree(folders: tuple[str, ...]) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not BUILT & set(path.parts)
    }


def check_wheel(path: Path) -> list[str]:
    names = set(zipfile.ZipFile(path).namelist())
    code = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    metadata = {name.split("/", 1)[1] for name in names - code}
    expected = in_tree(PACKAGES)
    return [
        *(f"wheel lacks {name}" for name in sorted((expected | REQUIRED) - code)),
        *(f"wheel has {name}, which the tree has not" for name in sorted(code - expected)),
        *(
            f"wheel has {name}: a kind of file that no package needs"
            for name in sorted(code)
            if Path(name).suffix not in SUFFIXES
        ),
        *(f"wheel's metadata differs: {name}" for name in sorted(metadata ^ METADATA)),
    ]


def check_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    expected = in_tree(tuple(SDIST_FOLDERS)) | SDIST_FILES
    return [
        *(f"sdist lacks {name}" for name in sorted(expected - names)),
        *(f"sdist has {name}, which the tree has not" for name in sorted(names - expected - GENERATED)),
    ]


def main() -> None:
    wheels, sdists = (sorted(Path(sys.argv[1]).glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        sys.exit(f"expected one wheel and one sdist in {sys.argv[1]}")
    faults = check_wheel(wheels[0]) + check_sdist(sdists[0])
    if faults:
        sys.exit("\n".join(faults))


main()
