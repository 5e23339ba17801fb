"""What is released: one version, a citation, an sdist and a wheel."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import keras_warn

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def text(name):
    return (ROOT / name).read_text("utf-8")


def test_one_version():
    """Of the package, the newest changes and the citation."""
    newest = re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)
    cited = re.search(r"^version: (\S+)$", text("CITATION.cff"), re.MULTILINE)
    assert newest[1] == cited[1] == keras_warn.__version__


@pytest.fixture(scope="module")
def in_repository():
    """Files that git knows, or would if they were added."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {name for name in listed if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(in_repository, tmp_path_factory):
    """Folder with the sdist, and the wheel that was built from it."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation"]
    subprocess.run(
        [*command, "--outdir", out, ROOT], check=True, capture_output=True
    )
    return out


def test_sdist_is_the_repository(built, in_repository):
    """So that its tests run, its site builds and its figures can be made."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {m.name.split("/", 1)[1] for m in archive if m.isfile()}
    assert files == in_repository | {"PKG-INFO"}


def test_wheel_is_the_package(built, in_repository):
    (path,) = built.glob("*.whl")
    files = set(zipfile.ZipFile(path).namelist())
    metadata = f"keras_warn-{keras_warn.__version__}.dist-info/"
    assert {f for f in files if not f.startswith(metadata)} == {
        f
        for f in in_repository
        if f.startswith("keras_warn/") or f == "keras_warn_cli.py"
    }
    assert metadata + "licenses/LICENSE" in files


def test_an_editable_install_is_a_path(tmp_path, monkeypatch):
    """And no finder, which comes after namespace packages.

    A clone that has the package's name is one, for who works beside it.
    """
    backend = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    wheel = tmp_path / backend.build_editable(str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (n for n in archive.namelist() if n.endswith(".pth"))
        assert Path(archive.read(path).decode().strip()).resolve() == ROOT
        assert not [n for n in archive.namelist() if n.endswith(".py")]


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("kind", ("*.whl", "*.tar.gz"))
def test_installs_and_works(built, version, kind, tmp_path):
    """In an empty environment, with all that it needs from an index."""
    python = shutil.which(f"python{version}")
    # Shims of version managers are there for versions that are not.
    if python is None or subprocess.run([python, "-V"]).returncode:
        pytest.skip(f"needs python{version}")
    (path,) = built.glob(kind)
    environment = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    subprocess.run(
        [environment / "bin/pip", "install", "-q", f"{path}[cpu,viz]"],
        check=True,
    )
    subprocess.run(
        [environment / "bin/python", ROOT / "tests/installed.py"],
        cwd=tmp_path,
        check=True,
        env={"PATH": str(environment / "bin"), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
