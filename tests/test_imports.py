"""Who may import whom."""

import ast
import functools
import graphlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import fresh
import pytest

import keras_warn
from keras_warn import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = Path(keras_warn.__file__).parent
# Packages that `import keras_warn` may need, rich because Keras has imported it
# already; others are imported when used.
ALWAYS_THERE = {"keras", "numpy", "rich", "keras_warn", "keras_warn_cli"}
ALWAYS_THERE |= set(sys.stdlib_module_names)


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path, inside_functions=True):
    """Modules that a file imports, as `(line, dotted name)`."""
    tree = parsed(path)
    nodes = ast.walk(tree) if inside_functions else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: absolute imports"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def files(folder):
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda p: p.stem)
def test_library_needs_keras_alone_and_nothing_points_back(path):
    """Not from the library to what stands on it, nor from its layers up."""
    for line, name in imports(path, inside_functions=False):
        assert name.split(".")[0] in ALWAYS_THERE, f"{path}:{line}: {name}"
    for line, name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("recipes", "tuning", "benchmarks", "tests")
        assert not name.startswith("keras.src"), f"{path}:{line}: {name}"
        if PACKAGE / "layers" in path.parents and top == "keras_warn":
            assert rest[0] in ("layers", "checks"), f"{path}:{line}: {name}"


def test_folders_form_no_circle():
    """Each can be read without those above it."""
    arrows = {}
    for path in files(PACKAGE):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for _, name in imports(path):
            top, *rest = name.split(".")
            if top == "keras_warn" and rest and rest[0] != own:
                arrows.setdefault(own, set()).add(rest[0])
    place = [*graphlib.TopologicalSorter(arrows).static_order()].index
    assert place("layers") < place("augmenting") < place("cli")


def test_no_name_hides_a_module():
    """`import keras_warn.data.images as images` is the module."""
    for path in files(PACKAGE):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        parent, _, own = name.removesuffix(".__init__").rpartition(".")
        if parent and own != "__main__":
            module = importlib.import_module(f"{parent}.{own}")
            assert getattr(importlib.import_module(parent), own) is module


@pytest.mark.parametrize(
    "path",
    [p for d in ("recipes", "tuning", "benchmarks") for p in files(ROOT / d)],
    ids=lambda p: p.stem,
)
def test_recipes_use_public_names(path):
    """So that a file copied out of here still runs."""
    for line, name in imports(path):
        assert "._" not in name, f"{path}:{line}: {name}"
        top = name.split(".")[0]
        assert not (ROOT / top).is_dir() or top == "keras_warn"


HELP = """
import sys

before = {name.split(".")[0] for name in sys.modules}
import keras_warn_cli

try:
    keras_warn_cli.main()
finally:
    added = {name.split(".")[0] for name in sys.modules}
    assert added <= {*sys.stdlib_module_names, "keras_warn_cli"} | before
"""


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing(option):
    process = subprocess.run(
        [sys.executable, "-c", HELP, option],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stderr) == (0, "")
    expected = {"--help": "usage: keras-warn", "--version": __version__}
    assert process.stdout.startswith(expected[option])


IMPORT = """
import json, pkgutil, sys, time

# As where the package was imported before.
sys.dont_write_bytecode, sys.pycache_prefix = False, sys.argv[1]
import keras

before = set(sys.modules)
import keras_warn

added = set(sys.modules) - before
known = set(keras.saving.get_custom_objects())
for module in pkgutil.walk_packages(keras_warn.__path__, "keras_warn."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
later = set(keras.saving.get_custom_objects()) - known

seconds = []
for _ in range(5):
    for name in set(sys.modules) - before:
        if name in added or name.startswith("keras_warn."):
            del sys.modules[name]
    start = time.process_time()
    import keras_warn

    seconds.append(time.process_time() - start)
found = {"added": sorted(added), "later": sorted(later), "seconds": seconds}
print(json.dumps(found))
"""


def test_import(tmp_path):
    """It adds little to Keras, takes a moment, and registers all layers."""
    process = fresh.run(IMPORT, tmp_path)
    imported = json.loads(process.stdout.splitlines()[-1])
    # With any backend: TensorFlow comes with Keras, or not at all.
    added = {name.split(".")[0] for name in imported["added"]}
    assert added - set(sys.stdlib_module_names) == {"keras_warn"}
    # All that a saved model may name is registered, and nothing later.
    assert imported["later"] == []
    # The fastest of five, of which a busy machine may slow down some.
    assert min(imported["seconds"]) < 0.15
