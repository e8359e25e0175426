"""Occupancy, and the page of all kernels."""

from collections import Counter

import pytest

from bench import kernels_table as page
from bench.occupancy import occupancy


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "warps", "limit"),
    [
        # As NVIDIA's occupancy calculator says.
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
    found = occupancy(arch, threads, registers, shared)
    assert (found.warps, found.limit) == (warps, limit)
    assert found.fraction == warps / 64


def kernel(name, **values):
    given = {"threads": 256, "registers": 32, "opcodes": Counter(FFMA=8), **values}
    return page.Kernel("", "80", name, **given)


def test_rows_span_the_forms_of_a_kernel():
    forms = [kernel("f_kernel<1>"), kernel("f_kernel<4>", registers=128), kernel("g_kernel")]
    f, g = page.groups(forms)
    columns = ("name", "arch", "forms", "threads", "registers", "shared", "spills")
    cells = page.kernel_row(f, [1024, 1024])
    row = dict(zip((*columns, *page.KINDS, "occupancy"), cells, strict=True))
    assert (row["name"], row["forms"], row["threads"]) == ("`f_kernel`", "2", "256")
    assert (row["registers"], row["shared"]) == ("32–128", "1,024")
    assert (row["FFMA"], row["HMMA"]) == ("8", "")
    assert row["occupancy"] == "25%–100% (registers)"
    assert list(page.kernel_row(g, [0]))[-1] == "100%"
    assert list(page.kernel_row(page.groups([kernel("h", threads=0)])[0], [0]))[-1] == "?"


def test_unknown_shared_memory_is_not_taken_for_none():
    (group,) = page.groups([kernel("f_kernel", shared=64)])
    row = list(page.kernel_row(group, [None]))
    assert (row[5], row[-1]) == ("64 + ?", "?")


def test_forms_are_told_their_dynamic_shared_memory_by_their_names():
    terms = {"f_kernel": [("<1,", 100), ("<2,", 200), ("", 50)], "g_kernel": []}
    names = ("f_kernel<1, 8>", "f_kernel<2, 8>", "f_kernel<3, 8>", "g_kernel", "h_kernel")
    assert [page.dynamic_of(kernel(n), terms) for n in names] == [100, 200, 50, None, 0]
    told = page.dynamic_bytes()
    assert all(told[n] for n in told), "a kernel's dynamic shared memory is not told"
    assert set(told) >= {"gemm_mma_kernel", "gemm_wgmma_kernel", "recurrent_forward_kernel"}


def test_tables_of_files_that_are_not_looked_at_are_taken_over():
    made = page.tables_of(page.PAGE.read_text(encoding="utf-8"))
    assert {"linear.cu", "softmax.cu"} <= set(made)
    assert all(t.startswith("| kernel | sm |") and t.endswith(" |") for t in made.values())


def test_kernels_are_found_in_the_source():
    found = page.kernels_in_source()
    assert "softmax_forward_rows_kernel" in found["ops/activation/softmax.cu"]
    assert "gemm_wgmma_kernel" in found["prim/gemm/gemm_wgmma.h"]
    assert all(name.endswith("_kernel") for names in found.values() for name in names)
    assert "gemm_wgmma_kernel" in page.missing("| `gemm_wgmma_kernel_of_old` |")
    assert "gemm_wgmma_kernel" not in page.missing("| `gemm_wgmma_kernel` |")


def test_the_page_names_every_kernel():
    """`make kernels` writes it; until a first one is committed there is nothing to compare."""
    if page.PAGE.is_file():
        assert page.missing(page.PAGE.read_text(encoding="utf-8")) == []


def test_numbers_of_directions_stand_beside_each_other():
    assert page.joined([1e-6, None, 1234e-6], page.microseconds) == "1 / – / 1,234"


def test_every_architecture_has_limits():
    for arch in page.machine_code.ARCHS:
        assert occupancy(arch, 128, 64, 0).blocks == 8
