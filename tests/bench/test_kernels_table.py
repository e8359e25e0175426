"""Occupancy, and the tables of kernels."""

from collections import Counter
from pathlib import Path

import pytest

from bench import kernels_table as page
from bench import machine_rows as rows
from bench import predictions
from bench.occupancy import occupancy
from tests.ops.harness import EMULATOR_MISSING


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "warps", "limit"),
    [
        # from NVIDIA's occupancy calculator
        ("80", 256, 32, 0, 64, "warps"),
        ("80", 256, 33, 0, 48, "registers"),
        ("80", 256, 128, 0, 16, "registers"),
        ("80", 256, 255, 0, 8, "registers"),
        ("80", 32, 32, 0, 32, "blocks"),
        ("80", 256, 32, 48 << 10, 24, "shared"),
        ("90a", 256, 32, 48 << 10, 32, "shared"),
        ("90a", 384, 168, 200 << 10, 12, "registers"),
        ("80", 1000, 32, 0, 64, "warps"),
    ],
)
def test_occupancy(arch, threads, registers, shared, warps, limit):
    result = occupancy(arch, threads, registers, shared)
    assert (result.warps, result.limit) == (warps, limit)
    assert result.fraction == warps / 64


def kernel(name, **values):
    fields = {"arch": "80", "threads": 256, "registers": 32, "opcodes": Counter(FFMA=8), **values}
    return rows.Kernel("", name=name, **fields)


def test_rows_span_the_forms_of_a_kernel():
    forms = [kernel("f_kernel<1>"), kernel("f_kernel<4>", registers=128), kernel("g_kernel")]
    f, g = rows.groups(forms)
    columns = ("name", "arch", "forms", "threads", "registers", "shared", "spills")
    cells = rows.kernel_row(f, [1024, 1024])
    row = dict(zip((*columns, *rows.KINDS, "occupancy"), cells, strict=True))
    assert (row["name"], row["forms"], row["threads"]) == ("`f_kernel`", "2", "256")
    assert (row["registers"], row["shared"]) == ("32–128", "1,024")
    assert (row["FFMA"], row["HMMA"]) == ("8", "")
    assert row["occupancy"] == "25%–100% (registers)"
    assert list(rows.kernel_row(g, [0]))[-1] == "100%"
    assert list(rows.kernel_row(rows.groups([kernel("h", threads=0)])[0], [0]))[-1] == "?"


def test_unknown_shared_memory_does_not_count_as_none():
    (group,) = rows.groups([kernel("f_kernel", shared=64)])
    row = list(rows.kernel_row(group, [None]))
    assert (row[5], row[-1]) == ("64 + ?", "?")


def test_terms_apply_to_forms_by_name():
    terms = {"f_kernel": [("<1,", 100), ("<2,", 200), ("", 50)], "g_kernel": []}
    names = ("f_kernel<1, 8>", "f_kernel<2, 8>", "f_kernel<3, 8>", "g_kernel", "h_kernel")
    assert [rows.dynamic_of(kernel(n), terms) for n in names] == [100, 200, 50, None, 0]
    declared = rows.dynamic_bytes()
    assert all(declared.values()), "a kernel with dynamic shared memory has no term dynamic="
    assert set(declared) >= {"gemm_mma_kernel", "gemm_wgmma_kernel", "recurrent_forward_kernel"}


def test_a_summary_counts_each_form_once_in_the_file_that_defines_it():
    """Sums of columns are instantiated in many sources, softmax's rows in one."""
    shared = kernel("column_sums_kernel<1>", arch="90a")
    forms = [shared, kernel("column_sums_kernel<2>", arch="90a", registers=64)]
    old = kernel("column_sums_kernel<1>", arch="80")
    rows_of_softmax = kernel("softmax_forward_rows_kernel<8>", arch="90a")
    inspected = {Path("a.cu"): ([*forms, old], []), Path("b.cu"): ([shared, rows_of_softmax], [])}
    lines = rows.summary_table(inspected, {}).splitlines()[2:]
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert [c[:3] for c in cells] == [
        ["`csrc/ops/activation/softmax.cu`", "`softmax_forward_rows_kernel`", "1"],
        ["`csrc/prim/column_sums.h`", "`column_sums_kernel`", "2"],
    ]
    assert cells[1][4] == "32–64"


def test_a_summary_names_the_tensor_cores():
    forms = [kernel("f_kernel", opcodes=Counter(HGMMA=3)), kernel("g_kernel")]
    assert list(rows.summary_row("prim/f.h", forms, {}))[6] == "wgmma"


def test_kernels_are_found_in_the_source():
    names_by_file = rows.kernels_in_source()
    assert "softmax_forward_rows_kernel" in names_by_file["ops/activation/softmax.cu"]
    assert "gemm_wgmma_kernel" in names_by_file["prim/gemm/gemm_wgmma.h"]
    assert all(name.endswith("_kernel") for names in names_by_file.values() for name in names)


@pytest.mark.skipif(bool(EMULATOR_MISSING), reason=str(EMULATOR_MISSING))
def test_the_page_is_up_to_date():
    """As far as can be checked without compiling; `make kernels` writes the page."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert list(page.outdated(text)) == []
    assert "prim/gemm/gemm_wgmma.h" in text
    renamed = text.replace("`gemm_wgmma_kernel`", "`gemm_wgmma_kernel_of_old`")
    assert list(page.outdated(renamed)) == ["the kernels of `csrc/prim/gemm/gemm_wgmma.h`"]
    other = page.replaced(text, page.EXPECTED, "| square 8192 |")
    assert list(page.outdated(other)) == ["the predictions"]
    gone = text.replace("`csrc/prim/gemm/gemm_mma.h`", "`csrc/prim/gemm/gone.h`")
    assert list(page.outdated(gone)) == [
        "the kernels of `csrc/prim/gemm/gemm_mma.h`",
        "`csrc/prim/gemm/gone.h`, which defines no kernel",
    ]


def test_the_page_is_one_page():
    assert len(page.PAGE.read_text(encoding="utf-8").splitlines()) < 120


def test_numbers_of_directions_share_a_cell():
    assert predictions.joined([1e-6, None, 1234e-6], predictions.microseconds) == "1 / – / 1,234"


def test_every_architecture_has_limits():
    for arch in page.machine_code.ARCHS:
        assert occupancy(arch, 128, 64, 0).blocks == 8
