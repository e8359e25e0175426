"""pip installs gpudl from a source distribution, with and without compilers, and editable."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import toolchain

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Prints the path of the installed gpudl, its native modules, and a result.
USE = """
import gpudl
from gpudl.devices import modules
print(gpudl.__file__)
print(*(name for name in modules.NAMES if modules.why_missing(name) is None))
print(gpudl.relu(gpudl.tensor([-1.0, 11.0])))
"""


def call(command, *, cwd, path=None, **variables):
    """Runs a command; `path` replaces PATH. Returns its exit code and its output."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GPUDL_", "PYTHONPATH"))}
    env |= variables | ({"PATH": str(path)} if path else {})
    result = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return result.returncode, result.stdout


def pip(*arguments, cwd, path=None, **variables):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return call(command, cwd=cwd, path=path, **variables)


def install(sdist, cwd, **options):
    """Installs a source distribution into the folder `site`, without its dependencies."""
    return pip("install", "--no-deps", "--target", "site", str(sdist), cwd=cwd, **options)


def use(folder, cwd):
    """Runs USE with the gpudl in a folder; returns the names of its native modules."""
    code, text = call([sys.executable, "-c", USE], cwd=cwd, PYTHONPATH=str(folder))
    assert code == 0, text
    file, modules, computed = text.splitlines()
    assert Path(file).is_relative_to(folder)
    assert "11" in computed
    return set(modules.split())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """A source distribution of the current tree."""
    out = tmp_path_factory.mktemp("sdist")
    code, text = call([sys.executable, "-m", "build", "--sdist", "-o", str(out)], cwd=ROOT)
    assert code == 0, text
    return next(out.glob("gpudl-*.tar.gz"))


def test_the_source_distribution_holds_the_documents_and_a_readme_without_dead_links(
    sdist, tmp_path
):
    shutil.unpack_archive(sdist, tmp_path)
    tree = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in (
        "CONTRIBUTING.md",
        "docs/own-model.md",
        "docs/zoo/lenet5.md",
        "docs/images/digit.png",
    ):
        assert (tree / name).is_file(), name
    page = (tree / "PKG-INFO").read_text(encoding="utf-8")
    assert "# gpudl" in page
    assert re.findall(r"\]\((?!https?:)\S*\)", page) == []


@pytest.fixture
def bare(tmp_path):
    """An empty folder to use as PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def test_without_compilers_it_installs_and_runs_on_numpy(sdist, bare, tmp_path):
    code, text = install(sdist, tmp_path, path=bare)
    assert code == 0, text
    assert use(tmp_path / "site", tmp_path) == set()
    for typed in (ROOT / "gpudl" / "py.typed", *(ROOT / "gpudl").rglob("*.pyi")):
        assert (tmp_path / "site" / typed.relative_to(ROOT)).is_file(), f"{typed} is not installed"


def test_requesting_a_module_that_cannot_be_built_fails_with_one_sentence(sdist, bare, tmp_path):
    code, text = install(sdist, tmp_path, path=bare, GPUDL_EMULATOR="on")
    assert code != 0
    assert "gpudl: GPUDL_EMULATOR=on, but no C++20 compiler works" in text
    assert "Traceback" not in text


def test_all_modules_that_the_compilers_support_are_built_and_load_together(sdist, tmp_path):
    plan = toolchain.plan({**os.environ, "GPUDL_ARCHS": "80"})
    expected = {"emulator"} | ({"cuda"} if plan.nvcc else set())
    code, text = install(sdist, tmp_path, GPUDL_ARCHS="80")  # asks for CUDA even without a GPU
    assert code == 0, text
    assert use(tmp_path / "site", tmp_path) == expected


def test_editable_installation_builds_into_the_tree(sdist, tmp_path):
    shutil.unpack_archive(sdist, tmp_path)
    tree = tmp_path / sdist.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    arguments = ["--python", str(python), "install", "--no-deps", "-e", "."]
    code, text = pip(*arguments, cwd=tree, GPUDL_CUDA="off")
    assert code == 0, text
    # NumPy comes from this environment, last on the path; gpudl must come from the new one.
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "zz_numpy.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code, text = call([python, "-c", USE], cwd=tmp_path)
    assert code == 0, text
    assert text.splitlines()[:2] == [str(tree / "gpudl" / "__init__.py"), "emulator"]
    assert revealed_type(python, tmp_path) == "gpudl.autograd.tensor.Tensor"


def revealed_type(python, cwd):
    """The type of a tensor for mypy, which looks for gpudl where `python` does."""
    program = "import gpudl; reveal_type(gpudl.tensor(1.0))"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    code, text = call([*command, "-c", program], cwd=cwd)
    assert code == 0, text
    return text.split('"')[1]
