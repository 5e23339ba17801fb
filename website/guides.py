"""Guides that are executed when the site is built.

A guide is a notebook in Jupytext's Markdown: it reads well as text, changes
show line by line, and Jupyter with Jupytext opens it as a notebook. It runs in
a fresh process. What it shows is not kept in the repository: the site has it,
and the executed notebook (`.ipynb`) to download.

As a hook of MkDocs, this replaces each guide by what it showed. Executing
takes longer than all the rest of the site, so results are kept in
`build/guides` (or in the folder that `KERAS_WARN_GUIDES` names), for as long
as neither the guide nor the library changes.
"""

import base64
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
# More is a guide that hangs.
SECONDS_A_CELL = 600


def on_files(files, config):
    from mkdocs.structure.files import File

    kept = Path(os.environ.get("KERAS_WARN_GUIDES", ROOT / "build" / "guides"))
    for path in sorted(GUIDES.glob("*.md")):
        uri = f"guides/{path.name}"
        folder = executed(path, kept)
        text, plots = page(folder / f"{path.stem}.ipynb")
        files.remove(files.get_file_from_path(uri))
        files.append(File.generated(config, uri, content=text))
        for name, content in plots.items():
            name = f"guides/{name}"
            files.append(File.generated(config, name, content=content))
        # The notebook, and pages that it wrote.
        for written in [*folder.glob("*.ipynb"), *folder.glob("*.html")]:
            files.append(
                File.generated(
                    config, f"guides/{written.name}", abs_src_path=written
                )
            )
    return files


def executed(path, kept):
    """The folder in `kept` of what a guide made: it runs, unless it has."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    path, kept = Path(path), Path(kept)
    folder = kept / f"{path.stem}-{fingerprint(path)}"
    if folder.is_dir():
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    notebook = jupytext.read(path)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=kept))
    try:
        NotebookClient(
            notebook,
            timeout=SECONDS_A_CELL,
            kernel_name="python3",
            startup_timeout=SECONDS_A_CELL,
            resources={"metadata": {"path": str(unfinished)}},
        ).execute(env=environment(unfinished))
        nbformat.write(notebook, unfinished / f"{path.stem}.ipynb")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def environment(folder):
    """Variables of the process that a guide runs in."""
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # TensorFlow's start-up lines are not the guide's to explain.
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # The user's own settings and history are not the guide's either.
        "IPYTHONDIR": str(folder / ".ipython"),
    }


def fingerprint(path):
    """Names all that a guide's results depend on in the repository."""
    found = hashlib.sha256()
    for source in (path, *sorted((ROOT / "keras_warn").rglob("*"))):
        if source.is_file() and source.suffix != ".pyc":
            found.update(source.name.encode() + b"\0" + source.read_bytes())
    return found.hexdigest()[:16]


def page(path):
    """An executed notebook as Markdown, and its images by name."""
    import nbformat

    parts, plots = [], {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(fenced(cell.source, "python"))
        for output in cell.outputs:
            if output.output_type == "stream":
                # Warnings are for whoever runs it, see the tests.
                if output.name == "stdout":
                    parts.append(fenced(output.text, "text"))
            elif "image/png" in output.data:
                name = f"{path.stem}_{len(plots) + 1}.png"
                plots[name] = base64.b64decode(output.data["image/png"])
                parts.append(f"![What the code above shows]({name})")
            elif "text/html" in output.data:
                parts.append(output.data["text/html"].strip())
            else:
                parts.append(fenced(output.data["text/plain"], "text"))
    parts.insert(
        1,
        f"[This page as a notebook, to download]({path.name}). Everything "
        "below was computed when this page was built.",
    )
    return "\n\n".join(parts) + "\n", plots


def fenced(text, language):
    return f"```{language}\n{text.rstrip()}\n```"
