"""Decides what to build on machines whose compilers are fake shell scripts."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import toolchain
from toolchain import ToolchainError, plan

FAKE_CXX = """
case "$*" in *--version*) echo "g++ 12.2.0"; exit 0;; esac
echo "probe.cpp:2:10: error: $0 does not support <concepts>" >&2
exit {status}
"""

FAKE_NVCC = """
case "$*" in
  *--dryrun*) echo '#$ TOP={root}/bin/..' >&2;;
  *--version*) echo "Cuda compilation tools, release 12.4, V12.4.131";;
  *--list-gpu-arch*) printf 'compute_75\\ncompute_80\\ncompute_86\\ncompute_89\\ncompute_90\\n';;
  *) echo "error: unsupported GNU version" >&2; exit {status};;
esac
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Sets PATH to one folder; returns a function that adds a shell script to it."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def add(name: str, script: str, target: Path = folder) -> str:
        target.mkdir(parents=True, exist_ok=True)
        path = target / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return str(path)

    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(toolchain, "present_archs", lambda: ("90a",))
    monkeypatch.setattr(toolchain, "sys", SimpleNamespace(path=[]))
    monkeypatch.setattr(toolchain, "SYSTEM", tmp_path / "system")
    return add


@pytest.fixture
def env(tmp_path):
    return {"PATH": str(tmp_path / "bin")}


def add_toolkit(programs, tmp_path, status=0, library="lib64"):
    """A toolkit whose nvcc is called by a wrapper script on PATH."""
    root = tmp_path / "toolkit"
    real = programs("nvcc", FAKE_NVCC.format(root=root, status=status), root / "bin")
    for path in (root / "include/cuda_runtime.h", root / library / "libcudart_static.a"):
        path.parent.mkdir(parents=True)
        path.touch()
    programs("nvcc", f'exec {real} "$@"')
    return root


def test_without_compilers_nothing_is_built_and_the_notes_say_why(programs, env):
    result = plan(env)
    assert result.cmake_args() == []
    assert [note.split(":")[0] for note in result.notes] == [
        "gpudl._emulator is left out",
        "gpudl._cuda is left out",
    ]
    assert "apt-get install g++" in result.notes[0]


def test_an_old_compiler_is_not_used(programs, env):
    programs("g++", FAKE_CXX.format(status=1))
    assert "does not support <concepts>" in plan(env).notes[0]


def test_a_compiler_without_nvcc_builds_the_emulator(programs, env):
    path = programs("g++", FAKE_CXX.format(status=0))
    result = plan(env)
    assert result.emulator
    assert result.nvcc is None
    assert f"-DCMAKE_CXX_COMPILER={path}" in result.cmake_args()
    assert "-DGPUDL_CUDA=OFF" in result.cmake_args()


@pytest.mark.parametrize("name", ["GPUDL_EMULATOR", "GPUDL_CUDA"])
def test_on_without_compiler_fails_in_one_sentence(programs, env, name):
    with pytest.raises(ToolchainError, match=rf"{name}=on, but no C\+\+20 compiler works .*\.$"):
        plan({**env, name: "on"})


def test_cuda_on_without_nvcc_fails_in_one_sentence(programs, env):
    programs("c++", FAKE_CXX.format(status=0))
    with pytest.raises(ToolchainError, match=r"GPUDL_CUDA=on, but no nvcc works; install .*\.$"):
        plan({**env, "GPUDL_CUDA": "on"})


def test_off_builds_nothing_and_adds_no_notes(programs, env):
    programs("c++", FAKE_CXX.format(status=0))
    result = plan({**env, "GPUDL_EMULATOR": "off", "GPUDL_CUDA": "OFF"})
    assert result.cmake_args() == []
    assert result.notes == ()


def test_unknown_value_of_a_switch_is_refused(programs, env):
    with pytest.raises(
        ToolchainError, match="GPUDL_CUDA is 'yes'; it must be one of on, off, auto"
    ):
        plan({**env, "GPUDL_CUDA": "yes"})


def test_missing_python_headers_are_named(programs, env, monkeypatch, tmp_path):
    programs("c++", FAKE_CXX.format(status=0))
    fake = SimpleNamespace(get_path=lambda name: str(tmp_path))
    monkeypatch.setattr(toolchain, "sysconfig", fake)
    assert "python3-dev" in plan(env).notes[0]


@pytest.mark.parametrize("library", ["lib64", "lib", "targets/x86_64-linux/lib"])
def test_nvcc_behind_a_wrapper_script_leads_to_its_toolkit(programs, env, tmp_path, library):
    programs("c++", FAKE_CXX.format(status=0))
    root = add_toolkit(programs, tmp_path, library=library)
    nvcc = plan(env).nvcc
    assert nvcc is not None
    assert nvcc.path == str(root / "bin/nvcc")
    assert nvcc.version == (12, 4)
    assert nvcc.cudart == str(root / library / "libcudart_static.a")


def test_variables_come_before_path_and_wheels_before_the_usual_folder(
    programs, env, tmp_path, monkeypatch
):
    on_path = programs("nvcc", "")
    wheel = programs("nvcc", "", tmp_path / "site/nvidia/cu13/bin")
    usual = programs("nvcc", "", tmp_path / "system/cuda/bin")
    monkeypatch.setattr(toolchain, "sys", SimpleNamespace(path=[str(tmp_path / "site")]))
    asked = {**env, "CUDACXX": "/b/nvcc", "GPUDL_NVCC": "/a/nvcc", "CUDA_HOME": "/c"}
    assert list(dict.fromkeys(toolchain.nvcc_candidates(asked))) == [
        "/a/nvcc",
        "/b/nvcc",
        on_path,
        "/c/bin/nvcc",
        wheel,
        usual,
    ]


def test_nvcc_that_does_not_compile_is_left_out_with_its_reason(programs, env, tmp_path):
    programs("c++", FAKE_CXX.format(status=0))
    add_toolkit(programs, tmp_path, status=1)
    result = plan(env)
    assert result.emulator
    assert result.nvcc is None
    assert "12.4: error: unsupported GNU version" in result.notes[0]


def test_toolkit_without_static_runtime_is_explained(programs, env, tmp_path):
    programs("c++", FAKE_CXX.format(status=0))
    root = add_toolkit(programs, tmp_path)
    (root / "lib64/libcudart_static.a").unlink()
    assert "lacks libcudart_static.a" in plan(env).notes[0]


@pytest.mark.parametrize(
    ("asked", "archs", "ptx"),
    [
        ("", ("80", "90a"), True),
        ("80;90a", ("80", "90a"), True),
        ("86, 89", ("86", "89"), False),
        ("all", ("75", "80", "86", "89", "90a"), True),  # this nvcc is older than 100 and 120
    ],
)
def test_architectures(programs, env, tmp_path, monkeypatch, asked, archs, ptx):
    programs("c++", FAKE_CXX.format(status=0))
    add_toolkit(programs, tmp_path)
    monkeypatch.setattr(toolchain, "present_archs", lambda: ())
    result = plan({**env, "GPUDL_CUDA": "on", "GPUDL_ARCHS": asked})
    assert (result.archs, result.ptx) == (archs, ptx)
    flags = next(a for a in result.cmake_args() if a.startswith("-DGPUDL_GENCODE="))
    assert flags.count("-gencode") == len(archs) + ptx
    assert ("code=compute_80" in flags) == ptx


def test_cuda_is_built_for_the_gpu_that_is_there_and_otherwise_only_on_request(
    programs, env, tmp_path, monkeypatch
):
    programs("c++", FAKE_CXX.format(status=0))
    add_toolkit(programs, tmp_path)
    assert plan(env).archs == ("90a",)
    monkeypatch.setattr(toolchain, "present_archs", lambda: ())
    without = plan(env)
    assert without.emulator
    assert without.nvcc is None
    assert "no NVIDIA GPU was found" in without.notes[0]
    assert "GPUDL_CUDA=on" in without.notes[0]
    assert plan({**env, "GPUDL_CUDA": "on"}).archs == toolchain.DEFAULT_ARCHS
    assert plan({**env, "GPUDL_ARCHS": "86"}).archs == ("86",)


def test_unknown_architecture_is_refused(programs, env, tmp_path):
    programs("c++", FAKE_CXX.format(status=0))
    add_toolkit(programs, tmp_path)
    with pytest.raises(ToolchainError, match=r"GPUDL_ARCHS names '120', which nvcc 12\.4 does not"):
        plan({**env, "GPUDL_ARCHS": "120"})


def test_the_architectures_of_the_gpus_present(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '9.0\\n9.0\\n8.6\\n'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.present_archs() == ("86", "90a")


def test_a_driver_that_fails_counts_as_no_gpu(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: 9.0'\nexit 9\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.present_archs() == ()
