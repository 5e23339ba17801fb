"""Docstrings in the style of Keras, for mkdocstrings.

Griffe, which reads docstrings for it, knows the sections of Google's style.
Those that Keras adds, and sections that are prose, become Markdown here:

- `Call arguments`, `Input shape` and `Output shape`: a list where they name
  things, otherwise as they are;
- `Returns`, `Yields` and `Reference`: as they are, since a shape before a
  colon is no type; so is `Raises` where it only points elsewhere;
- examples, `>>>` and what follows up to an empty line: code.
"""

import re
import textwrap

import griffe

OURS = (
    "Call arguments",
    "Example",
    "Input shape",
    "Output shape",
    "Reference",
    "Returns",
    "Yields",
)
LISTS = ("Call arguments", "Input shape", "Output shape")
GRIFFE = ("Args", "Attributes", "Raises")
HEADER = re.compile(rf"^({'|'.join(OURS + GRIFFE)}):$", re.MULTILINE)
ELSEWHERE = re.compile(r"^As ", re.MULTILINE)
EXAMPLE = re.compile(r"^>>> .*(?:\n.*\S.*)*", re.MULTILINE)
ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring that has been loaded."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(docstring):
    """The docstring, with the sections of `OURS` as Markdown."""
    start, *parts = HEADER.split(docstring)
    sections = [with_code(start)]
    for title, content in zip(parts[::2], parts[1::2], strict=True):
        text = textwrap.dedent(content.strip("\n"))
        elsewhere = title == "Raises" and ELSEWHERE.search(text)
        if title not in OURS and not elsewhere:
            sections.append(f"{title}:{content}")
            continue
        if elsewhere or (title in LISTS and ITEM.match(text)):
            text = ELSEWHERE.sub("- As ", ITEM.sub(r"- `\1`: ", text))
        # As mkdocstrings writes the titles that it knows.
        title = f'<p><span class="doc-section-title">{title}:</span></p>'
        sections.append(f"{title}\n\n{with_code(text).rstrip()}\n\n")
    return "".join(sections)


def with_code(text):
    """The text, with its examples between fences."""
    return EXAMPLE.sub("```pycon\n\\g<0>\n```", text)
