"""Pages that need no other file and no internet.

Jinja2 is imported when a page is made.
"""

import base64
import hashlib
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def template(name, folder=None) -> "jinja2.Template":
    """The template of a page, with the look that all pages share.

    It extends `base.html` and fills its blocks: `title`, `lead` (what stands
    below the title), `sections` (links, as items of a list) and `main`.
    Beside it may lie a style and a script of its own, which are added to the
    shared ones. The page allows no script but these, and nothing from
    elsewhere; what is filled in is escaped.

    Filters:

    - `percent`: a share, with one digit or as many as are asked for;
    - `points`: a difference of shares, in percentage points;
    - `signed`: a number with its sign;
    - `number`: an integer, with commas;
    - `probability`: a p-value, with its sign of equality or inequality.

    Args:
        name: What the files are called, without `.html`, `.css` and `.js`.
        folder: Where they are. Defaults to the pages of this package.

    Returns:
        A `jinja2.Template`: its `render(**content)` returns the page, and
        fails if something is missing in `content`.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "small.html").write_text(
    ...         "{% extends 'base.html' %}"
    ...         "{% block main %}<p>{{ share | percent }}</p>{% endblock %}"
    ...     )
    ...     page = template("small", folder).render(title="<3", share=0.5)
    >>> "<h1>&lt;3</h1>" in page, "<p>50.0\N{NO-BREAK SPACE}%</p>" in page
    (True, True)
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "Pages need the package Jinja2: `pip install jinja2`."
        ) from error
    loaders = [jinja2.PackageLoader("keras_warn.reporting")]
    if folder is not None:
        loaders.append(jinja2.FileSystemLoader(pathlib.Path(folder)))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": lambda x, digits=1: (
            f"{100 * x:.{digits}f}\N{NO-BREAK SPACE}%"
        ),
        "points": lambda x, digits=1: signed(100 * x, digits),
        "signed": signed,
        "number": lambda x: f"{int(x):,}",
        "probability": _probability,
    }
    script = _both(environment, name, "js")
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    environment.globals |= {
        "style": _both(environment, name, "css"),
        "script": script,
        # The mark by which browsers know this script.
        "script_hash": base64.b64encode(digest).decode("ascii"),
    }
    return environment.get_template(f"{name}.html")


def signed(x, digits=2) -> str:
    """A number with its sign, by the signs that typesetters use.

    Example:

    >>> signed(0.5), signed(-0.5, 1) == "\N{MINUS SIGN}0.5"
    ('+0.50', True)
    """
    return f"{x:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _both(environment, name, kind):
    """Text of the shared file of a kind, and of the page's own."""
    import jinja2
    import markupsafe

    texts = []
    for file in (f"base.{kind}", f"{name}.{kind}"):
        try:
            texts.append(environment.loader.get_source(environment, file)[0])
        except jinja2.TemplateNotFound:
            # A page need not have its own.
            continue
    return markupsafe.Markup("\n".join(texts))


def _probability(p):
    sign, text = "=", f"{p:.4f}" if p < 0.1 else f"{p:.2f}"
    if p < 1e-4:
        sign, text = "<", "0.0001"
    return f"{sign}\N{NO-BREAK SPACE}{text}"
