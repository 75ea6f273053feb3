"""Sphinx's configuration. Builds and reads without a network: no CDN, no intersphinx."""

from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "modhub"
author = "the modhub authors"
project_copyright = author
# Read, not imported: the pages build without the package's dependencies.
release = (Path(__file__).parent.parent / "hub" / "_version.py").read_text(encoding="utf-8").split('"')[1]
version = release

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"modhub {release}"
html_show_sphinx = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Show diagrams as text: what draws them would come from a CDN. Readers of the source get them drawn."""
    app.add_lexer("mermaid", TextLexer)
