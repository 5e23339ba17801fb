"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_warn

ROOT = Path(__file__).parents[1]
PACKAGE = Path(keras_warn.__file__).parent
# Packages that `import keras_warn` may need; others are imported when used.
ALWAYS_THERE = {"keras", "numpy"} | set(sys.stdlib_module_names)


def imports(path, inside_functions=True):
    """Modules that a file imports, as `(line, dotted name)`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
def test_library_needs_keras_alone(path):
    for line, name in imports(path, inside_functions=False):
        top = name.split(".")[0]
        assert top in ALWAYS_THERE | {"keras_warn"}, f"{path}:{line}: {name}"


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda p: p.stem)
def test_nothing_points_back(path):
    """Not from the library to what stands on it, nor from its layers up."""
    for line, name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("recipes", "tuning", "benchmarks", "tests")
        assert not name.startswith("keras.src"), f"{path}:{line}: {name}"
        if PACKAGE / "layers" in path.parents and top == "keras_warn":
            assert rest[0] in ("layers", "checks"), f"{path}:{line}: {name}"


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


def test_import_adds_nothing_heavy_to_keras():
    """With any backend: TensorFlow comes with Keras, or not at all."""
    script = (
        "import sys, keras; before = set(sys.modules); import keras_warn; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    added = set(ast.literal_eval(found.stdout))
    assert added - set(sys.stdlib_module_names) == {"keras_warn"}


def test_import_is_enough_to_load_any_model():
    """All that a saved model may name is registered, and nothing later."""
    script = (
        "import keras, keras_warn, pkgutil; "
        "known = set(keras.saving.get_custom_objects()); "
        "[__import__(m.name) for m in pkgutil.walk_packages("
        "keras_warn.__path__, 'keras_warn.') if m.name[-8:] != '__main__']; "
        "print(sorted(set(keras.saving.get_custom_objects()) - known))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(found.stdout.splitlines()[-1]) == []
