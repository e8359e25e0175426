"""Planted bugs: the build meant for each one reports it with its source line."""

import re
import shutil
from dataclasses import dataclass

import pytest

from . import programs

pytestmark = pytest.mark.skipif(
    shutil.which(programs.compiler()) is None, reason="needs a C++ compiler"
)

PRIORITY = range(2, 17, 2)
RANDOM = range(1, 17)


@dataclass(frozen=True)
class Finding:
    """The expected report of a planted bug.

    variant: the build. report: a regular expression; @name stands for the file and line of the
    comment "planted: name". schedules: at least one of them must find the bug.
    """

    bug: str
    variant: str
    report: str
    schedules: tuple[int, ...] = (0,)


FINDINGS = [
    # Memory shared by the threads of a block, used in the wrong order: results are wrong, and the
    # race detector reports the line under every schedule.
    Finding("missing_barrier", "plain", "WRONG"),
    Finding(
        "missing_barrier",
        "race",
        "@missing_barrier: data race: .*'tile'.* before anything wrote it",
    ),
    Finding("write_after_read", "plain", "WRONG", tuple(PRIORITY)),
    Finding(
        "write_after_read",
        "race",
        "@write_after_read: data race: .*'scratch' was read .* and written",
    ),
    Finding("missing_copy_wait", "plain", "WRONG: value 0 is -?nan"),
    Finding("missing_copy_wait", "race", "data race: .*'tile'.* @missing_copy_wait"),
    Finding("wait_without_barrier", "plain", "WRONG"),
    Finding("wait_without_barrier", "race", "@wait_without_barrier: data race: .*'tile'"),
    Finding(
        "unwritten_shared",
        "race",
        "@unwritten_shared: data race: .*'tile' was read .* before anything wrote",
    ),
    Finding("half_warp", "race", "@half_warp: data race: .*'slot' was .* no barrier orders"),
    Finding("threads_race", "race", "@threads_race: data race: global memory .* no barrier orders"),
    Finding(
        "blocks_race", "race", "@blocks_race: data race: .* blocks of one launch run in any order"
    ),
    Finding("unfenced_blocks", "race", "@unfenced_blocks: data race: .* of block"),
    # Memory outside the kernel's arrays.
    Finding(
        "shared_overrun", "plain", "@declared_overrun: .* wrote past the end of shared array 'tile'"
    ),
    Finding("shared_overrun", "asan", "@shared_overrun:"),
    Finding(
        "dynamic_overrun",
        "asan",
        "use-after-poison.*@dynamic_overrun.*thread .31,0,0. of the running kernel",
    ),
    Finding(
        "shared_address_overrun",
        "plain",
        "@shared_address_overrun: .* not inside shared array 'rows'",
    ),
    Finding("global_overrun", "asan", "heap-buffer-overflow.*@global_overrun.*thread .32,0,0. of"),
    Finding("null_pointer", "plain", "@null_pointer: a null pointer .*thread .7,0,0."),
    Finding("misaligned_row", "plain", "@misaligned_row: .* must be a multiple of 16"),
    Finding("misaligned_copy", "plain", "@misaligned_copy: .* must be a multiple of 8"),
    Finding("misaligned_vector", "asan", "@misaligned_vector:.* misaligned address"),
    Finding("static_limit", "plain", "@static_limit: .*'tile' .* 49156 bytes; the limit is 48 KiB"),
    Finding(
        "dynamic_limit", "plain", "232449 bytes of dynamic shared memory; a block may have 232448"
    ),
    # Threads that diverge or wait for each other.
    Finding(
        "diverged_shuffle", "plain", "the warp diverged: .* __shfl_xor_sync at @diverged_shuffle"
    ),
    Finding("exit_before_shuffle", "plain", "@exit_before_shuffle: .* lane 5 has ended"),
    Finding(
        "absent_lane",
        "plain",
        "@absent_lane: .* reads from lane 20, which mask 0x0000ffff does not name",
    ),
    Finding(
        "diverged_barrier", "plain", "the block diverged: .* __syncthreads at @diverged_barrier"
    ),
    Finding("deadlock", "plain", "@deadlock: .* deadlock, .*; 32 wait in __syncthreads"),
    Finding("barrier_count", "plain", "@barrier_count: .* expects 96 threads here, but 64 at"),
    Finding("thrown", "plain", "the kernel gave up"),
    # Tensor cores fed by TMA through a ring buffer.
    Finding("released_early", "plain", "WRONG|arrive again in the next phase", tuple(RANDOM)),
    Finding(
        "released_early", "race", "@ring_written: data race: .* read .* @ring_read and written"
    ),
    Finding("ignored_full", "plain", "mbarrier|WRONG"),
    Finding("ignored_full", "race", "data race: .* @ring_read before anything wrote it"),
    Finding("ignored_empty", "plain", "arrive again in the next phase"),
    Finding("lax_wait", "plain", "WRONG"),
    Finding("lax_wait", "race", "@ring_written: data race: .* read .* @ring_read and written"),
    Finding("early_accumulator", "plain", "WRONG: value 0 is -?nan"),
    Finding("unfenced_registers", "plain", r"@ring_read: .* call wgmma_fence\(\)"),
    Finding(
        "different_operands", "plain", "@ring_read: .* differ between threads of the warpgroup"
    ),
    # mbarriers.
    Finding("uninitialised_mbarrier", "plain", "@mbarrier_arrive: .* no mbarrier was initialised"),
    Finding("initialised_twice", "plain", "@initialised_twice: .* holds an mbarrier"),
    Finding("overwritten_mbarrier", "plain", "@mbarrier_arrive: .* was overwritten by data"),
    Finding("invisible_to_tma", "plain", r"@mbarrier_load: .* must call mbarrier_fence_init\(\)"),
    Finding(
        "too_many_arrivals", "plain", "@too_many_arrivals: .* arrive again in the next phase only"
    ),
    Finding(
        "too_few_bytes",
        "plain",
        "@mbarrier_wait: .* deadlock, .* lacks 0 of 1 arrivals and 128 bytes",
    ),
    Finding("wrong_parity", "plain", "@mbarrier_wait: .* parity 2; it is 0 or 1"),
    Finding(
        "unordered_mbarrier",
        "race",
        "@mbarrier_wait: data race: .*'barrier' was written .* in mbarrier_init",
    ),
    # TMA stores.
    Finding(
        "unfenced_store", "race", r"@store_read: data race: .* did not call fence_async_shared\(\)"
    ),
    Finding("reused_early", "plain", "WRONG"),
    Finding("reused_early", "race", "@store_written: data race: .* read .* tma_store_2d"),
    Finding("store_not_waited", "plain", "@store_read: .* ended before this store was complete"),
    # Blocks that run at the same time.
    Finding("missing_grid_sync", "plain", "WRONG"),
    Finding(
        "missing_grid_sync",
        "race",
        "data race: global .* was read by .* of block .* and written by .* of block .* no barrier",
    ),
    Finding(
        "block_left_early",
        "plain",
        "@grid_barrier: .* deadlock, no thread of the 3 resident blocks .* of 96 threads 32 have",
    ),
    Finding("not_cooperative", "plain", "@grid_barrier: .* only blocks of a launch_cooperative"),
    Finding("dirty_counter", "plain", "@grid_barrier: .* it must be zero when first used"),
    Finding("too_many_blocks", "plain", "5 blocks must be resident at once, .* holds only 4"),
    Finding(
        "unreleased_flag", "race", "@unreleased_flag: data race: .* of block .* @row_written and"
    ),
    Finding(
        "awaited_for_ever", "plain", "@awaited_for_ever: .* deadlock, .* 64 wait in load_acquire"
    ),
    # Clusters.
    Finding("not_met_before", "plain", "WRONG"),
    Finding("not_met_before", "race", "data race: byte .* of shared array 'slots'"),
    Finding("not_met_after", "plain", "@cluster_read: .* block 0 of the cluster has ended"),
    Finding("own_address", "plain", "WRONG"),
    Finding("absent_rank", "plain", "rank 2; the cluster has 2 blocks"),
    Finding("arrived_twice", "plain", "@arrived_twice: .* arrives twice without cluster_wait"),
    Finding("reloaded_early", "plain", "WRONG|deadlock", tuple(RANDOM)),
    Finding("reloaded_early", "race", "data race: .*'dynamic' was .* asynchronous"),
    Finding("refused_image_map", "plain", "windows from -130 to 0 beyond the last pixel"),
    Finding("between_windows", "plain", "@between: .* no window starts at coordinate 1 of axis 1"),
    Finding("refused_tensor_map", "plain", "axis 1: stride of 24 bytes must be a multiple of 16"),
]


def marked_lines() -> dict[str, str]:
    """File and line of each comment "planted: name"."""
    marks = {}
    for path in programs.sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in re.findall(r"// planted: (\w+)", line):
                marks[name] = f"{re.escape(path.name)}:{number}"
    return marks


MARKS = marked_lines()


def expected(finding: Finding) -> str:
    return re.sub(r"@(\w+)", lambda name: f"[^ ]*{MARKS[name[1]]}", finding.report)


def slow_unless_plain(variant: str) -> list[pytest.MarkDecorator]:
    return [] if variant == "plain" else [pytest.mark.slow]


@pytest.mark.parametrize(
    "finding",
    [
        pytest.param(f, id=f"{f.bug}-{f.variant}", marks=slow_unless_plain(f.variant))
        for f in FINDINGS
    ],
)
def test_planted_bug_is_reported(finding):
    program = programs.build(finding.variant)
    reports = [program.run(finding.bug, schedule) for schedule in finding.schedules]
    assert any(re.search(expected(finding), report, re.S) for report in reports), reports


TEXT = "".join(path.read_text() for path in programs.HERE.glob("*bugs.c*"))
CLEAN = [f"{name}_clean" for name in re.findall(r"^BUG\((\w+)\)", TEXT, re.M)]
CLEAN += re.findall(r"^CASE\((\w+_clean)\)", TEXT, re.M)


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=slow_unless_plain(v)) for v in ("plain", "race", "asan")]
)
@pytest.mark.parametrize("case", CLEAN)
def test_kernel_without_the_bug_is_clean(case, variant):
    schedules = (2,) if variant == "plain" else (0, 1, 2)
    assert {programs.build(variant).run(case, schedule) for schedule in schedules} == {"ok"}


def test_every_planted_bug_has_a_finding():
    planted = set(re.findall(r"^(?:BUG|CASE)\((\w+)\)", TEXT, re.M)) - set(CLEAN)
    assert planted == {finding.bug for finding in FINDINGS}
