"""Pages of the site that lie elsewhere in the repository.

A hook of MkDocs. README and others are read where they are, and links between
files of the repository become links between pages. What a page links to and
the site does not have stays as it is, and a strict build stops there.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

# Files of the repository, and what they are called on the site.
PAGES = {
    "README.md": "index.md",
    "recipes/README.md": "recipes.md",
    "tuning/README.md": "tuning.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
# A folder that pages link to; on the site it needs a page.
RESULTS = "results/index.md"

# Relative ones alone: an address has a colon.
LINK = re.compile(r"(\]\()([^):#\s]+)(#[^)\s]*)?(\))")


def on_files(files, config):
    for source, uri in PAGES.items():
        # Written as for a reader of the repository.
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, uri, content=text))
    names = sorted(p.name for p in (ROOT / "docs/results").iterdir())
    listed = "\n".join(f"- [{name}]({name})" for name in names)
    text = (
        "# Results\n\nEvery run behind the figures of these pages, as the "
        f"commands wrote them.\n\n{listed}\n"
    )
    files.append(File.generated(config, RESULTS, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    return LINK.sub(lambda link: rewritten(link, page.file.src_uri), markdown)


def rewritten(link, uri):
    """A link of the page `uri`, to where its target is on the site."""
    start, target, anchor, end = link.groups(default="")
    origin = {uri: source for source, uri in PAGES.items()}.get(
        uri, f"docs/{uri}"
    )
    target = uri_of(posixpath.join(posixpath.dirname(origin), target))
    if target is None:
        return link.group()
    target = posixpath.relpath(target, posixpath.dirname(uri) or ".")
    return f"{start}{target}{anchor}{end}"


def uri_of(path):
    """What a file of the repository is called on the site, if it is there."""
    path = posixpath.normpath(path)
    if path == "docs/results":
        return RESULTS
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return None
