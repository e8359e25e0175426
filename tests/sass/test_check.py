"""The machine-code check, on real output of compiler and disassembler."""

from collections import Counter

import pytest

from tests.sass import check

LOG = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5gemmXv' for 'sm_80'
ptxas info    : Function properties for _Z5gemmXv
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 126 registers, used 1 barriers, 17408 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4copyv' for 'sm_80'
ptxas info    : Function properties for _Z4copyv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 20 registers, used 0 barriers
"""

SASS = """
\tcode for sm_80

\t\tFunction : _Z5gemmXv
\t.headerflags\t@"EF_CUDA_SM80"
        /*0000*/                   LDC R1, c[0x0][0x28] ;        /* 0x00000a00ff017b82 */
                                                                 /* 0x000fe20000000800 */
        /*0090*/              @!P0 BRA 0x1f0 ;                   /* 0x0000000000540947 */
        /*00a0*/                   HMMA.16816.F32.BF16 R4, R4 ;  /* 0x0000000000540947 */
        /*00b0*/              @UP1 HMMA.16816.F32.BF16 R8, R4 ;  /* 0x0000000000540947 */

\t\tFunction : _Z4copyv
        /*0000*/                   EXIT ;                        /* 0x000000000000794d */
"""


def test_resources():
    kernels = check.parse_resources(LOG, "80")
    gemm, copy = kernels["_Z5gemmXv"], kernels["_Z4copyv"]
    assert (gemm.registers, gemm.shared, gemm.stack, gemm.spills) == (126, 17408, 16, 20)
    assert (copy.registers, copy.shared, copy.stack, copy.spills) == (20, 0, 0, 0)


ELF = """
    9   60e4     9c  0  4                    CUDA_INFO       40    3       20 .nv.info._Z5gemmXv

.nv.info._Z5gemmXv
\t<0x1>
\tAttribute:\tEIATTR_MAX_THREADS
\tFormat:\tEIFMT_SVAL
\tValue:\t0x40 0x4 0x1
.nv.info._Z4copyv
\t<0x1>
\tAttribute:\tEIATTR_CRS_STACK_SIZE
"""


def test_block_sizes():
    assert check.parse_block_sizes(ELF) == {"_Z5gemmXv": 256}


def test_opcodes():
    counts = check.count_opcodes(SASS)
    assert counts == {
        "_Z5gemmXv": Counter(HMMA=2, LDC=1, BRA=1),
        "_Z4copyv": Counter(EXIT=1),
    }


@pytest.mark.parametrize(
    ("demangled", "name", "base"),
    [
        ("void gpudl::(anonymous namespace)::f_kernel<128>(int)", "f_kernel<128>", "f_kernel"),
        ("gpudl::f_kernel(gpudl::View<float, 2>, int)", "f_kernel", "f_kernel"),
        (
            "void gpudl::conv::f_kernel<void (*)(int)>(int)",
            "f_kernel<void (*)(int)>",
            "f_kernel",
        ),
    ],
)
def test_names(demangled, name, base):
    assert check.readable(demangled) == name
    assert check.Kernel("", "80", name).base == base


def kernel(arch="80", **changes):
    return check.Kernel("", arch, "gemm_kernel<true>", **changes)


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        ("gemm_kernel HMMA", "has no HMMA"),
        ("gemm_kernel HMMA@80", "has no HMMA"),
        ("gemm_kernel HMMA@90a", None),
        ("gemm_kernel FFMA", None),
        ("gemm_kernel !FFMA", "has FFMA, which is forbidden"),
        ("gemm_kernel registers<=64", "uses 65 registers, more than 64"),
        ("gemm_kernel registers<=65", None),
        ("gemm_kernel moved=168", None),  # nothing moves
        ("other_kernel HMMA", None),
    ],
)
def test_expectations(comment, problem):
    expectations = check.parse_expectations(f"int x;\n// sass: {comment}\n")
    problems = check.problems(kernel(registers=65, opcodes=Counter(FFMA=8)), expectations)
    assert problems == ([f"gemm_kernel<true> (sm_80): {problem}"] if problem else [])


@pytest.mark.parametrize("term", ["hmma", "HMMA@sm_80", "HMMA@75", "registers<64"])
def test_unknown_terms_are_refused(term):
    with pytest.raises(ValueError, match="cannot understand"):
        check.parse_expectations(f"// sass: gemm_kernel {term}")


@pytest.mark.parametrize(
    ("name", "arch", "missing"),
    [
        ("gemm_mma_bf16_kernel", "80", "has no HMMA"),
        ("gemm_wgmma_kernel", "90a", "has no HGMMA"),
        ("gemm_wgmma_kernel", "80", None),  # sm_80 has no wgmma
        ("gemm_simt_kernel", "90a", None),
        ("gemma_kernel", "80", None),
    ],
)
def test_names_imply_instructions(name, arch, missing):
    problems = check.problems(check.Kernel("", arch, name), [])
    assert problems == ([f"{name} (sm_{arch}): {missing}"] if missing else [])


@pytest.mark.parametrize(
    ("registers", "comment", "expected"),
    [
        (168, "moved=168", []),
        (160, "moved=168", ["moves registers and has 160, not exactly 168"]),
        (168, "HMMA", ["moves registers (USETMAXREG), but no term 'moved=' says how many it has"]),
    ],
)
def test_kernels_that_move_registers_must_have_the_declared_number(registers, comment, expected):
    expectations = check.parse_expectations(f"// sass: gemm_kernel {comment}")
    moves = kernel(registers=registers, opcodes=Counter(USETMAXREG=2, HMMA=1))
    problems = check.problems(moves, expectations)
    assert problems == [f"gemm_kernel<true> (sm_80): {text}" for text in expected]


def test_local_memory_is_always_a_problem():
    assert check.problems(kernel(spills=4), []) != []
    assert check.problems(kernel(stack=8), []) != []
    assert check.problems(kernel(opcodes=Counter(STL=1)), []) != []
    assert check.problems(kernel(), []) == []


def test_a_file_is_recompiled_when_a_header_it_includes_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(check.machine_code, "ROOT", tmp_path)
    files = {"ops/a.cu": '#include "prim/b.h"\n', "prim/b.h": '#include "core/c.h"\n'}
    files |= {"core/c.h": "#pragma once\n", "core/other.h": "#pragma once\n"}
    for name, text in files.items():
        path = tmp_path / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def after(name):
        with (tmp_path / "csrc" / name).open("a") as file:
            file.write("// changed\n")
        return check.machine_code.source_hash(tmp_path / "csrc" / "ops/a.cu")

    before = after("core/other.h")
    assert after("core/other.h") == before
    assert len({before, after("core/c.h"), after("prim/b.h"), after("ops/a.cu")}) == 4
