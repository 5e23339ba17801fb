"""Links of a built site that lead nowhere.

    python website/links.py build/site

Links within the site must have their file, and their anchor in it; links out
of it are only read, not followed. Nothing may be loaded from elsewhere: no
script, style, font or image.
"""

import argparse
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

# What a browser loads by itself, and by which attribute.
LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("link", "href"),
}


class Page(HTMLParser):
    """The anchors of a page, and what it loads and links to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.loads, self.links = set(), [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in LOADED:
                self.loads.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)


def problems(site):
    """All that is wrong with the links of a site.

    Args:
        site: The folder of the built site.

    Returns:
        A list of strings, one a problem.
    """
    site = Path(site).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads:
            if urllib.parse.urlsplit(target).scheme not in ("", "data"):
                found.append(f"{name}: loads {target} from elsewhere")
            elif target.startswith("//"):
                found.append(f"{name}: loads {target} from elsewhere")
        # The page of errors does not know where it is shown.
        if path.name == "404.html":
            continue
        for target in page.links + page.loads:
            problem = _problem(target, path, pages, site)
            if problem:
                found.append(f"{name}: {target}: {problem}")
    return found


def _problem(target, path, pages, site):
    """What is wrong with a link of the page at `path`, if anything is."""
    try:
        link = urllib.parse.urlsplit(target)
    except ValueError as error:
        return str(error)
    if link.scheme in ("data", "mailto"):
        return None
    if link.scheme or link.netloc:
        good = link.scheme in ("http", "https") and "." in link.netloc
        return None if good and " " not in target else "is no address"
    file = path
    if link.path:
        file = (path.parent / urllib.parse.unquote(link.path)).resolve()
        if file.is_dir():
            file = file / "index.html"
        if not file.is_relative_to(site):
            return "leaves the site"
        if not file.is_file():
            return "no such file"
    if link.fragment and file in pages:
        anchor = urllib.parse.unquote(link.fragment)
        if anchor not in pages[file].anchors:
            return "no such anchor"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site
    if not (site / "index.html").is_file():
        parser.error(f"{site} must be a built site, with an index.html.")
    found = problems(site)
    print("\n".join(found) or "All links lead somewhere.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
