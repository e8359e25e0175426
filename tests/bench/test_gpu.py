"""bench/gpu.py's control flow, with a fake nvidia-smi and stages that need no GPU."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bench import gpu


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that appears to have a GPU and all modules."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text('#!/bin/sh\necho "GPU 0: NVIDIA H100 (UUID: GPU-0)"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(smi.parent), os.environ["PATH"]]))
    monkeypatch.setattr(gpu, "MODULES", ("json",))
    monkeypatch.setattr(gpu, "TEST_MODULES", ("json",))
    monkeypatch.setattr(gpu, "find_sanitizer", lambda: None)
    return tmp_path


def python(code):
    return [sys.executable, "-c", code]


STAGES = {
    "build": python("print('built')"),
    "test": python("import sys; print('2 failed'); sys.exit(1)"),
    "curves": ["/no/such/program"],
    "memcheck": [],
    "sass": python("print('no spills')"),
}


def run_main(monkeypatch, machine, stages, commands=STAGES, *options):
    monkeypatch.setattr(gpu, "command", lambda stage, *_: commands[stage])
    words = ["gpu.py", "--out", str(machine / "out"), *options, "--stages", *stages]
    monkeypatch.setattr(sys, "argv", words)
    return gpu.main()


def test_a_stage_that_fails_does_not_stop_the_next(machine, monkeypatch, capsys):
    assert run_main(monkeypatch, machine, list(STAGES)) == 1
    (path,) = (machine / "out").glob("gpu-*.json")
    report = json.loads(path.read_text())
    assert [(s["stage"], s["exit"]) for s in report["stages"]] == [
        ("build", 0), ("test", 1), ("curves", 126), ("memcheck", 127), ("sass", 0),
    ]  # fmt: skip
    assert report["environment"]["gpu"].startswith("GPU 0")
    assert [s["last_line"] for s in report["stages"]][::4] == ["built", "no spills"]
    shown = capsys.readouterr().out
    assert "compute-sanitizer is not installed" in shown
    assert [line.split()[1] for line in shown.splitlines()[-6:-1]] == [
        "ok", "exit", "not", "missing", "ok",
    ]  # fmt: skip


def test_without_pytest_the_benchmarks_run(machine, monkeypatch):
    monkeypatch.setattr(gpu, "TEST_MODULES", ("no_such_module",))
    assert run_main(monkeypatch, machine, ["test", "sass"]) == 1
    (path,) = (machine / "out").glob("gpu-*.json")
    stages = json.loads(path.read_text())["stages"]
    assert [s["exit"] for s in stages] == [127, 0]
    assert "lacks no_such_module" in stages[0]["last_line"]


def test_the_exit_code_is_0_if_every_stage_passes(machine, monkeypatch):
    assert run_main(monkeypatch, machine, ["build", "sass"]) == 0


def test_a_stage_over_its_limit_may_write_before_it_ends(machine, monkeypatch):
    slow = python(
        "import time\ntry:\n  print('waiting', flush=True); time.sleep(60)\n"
        "finally:\n  print('written')"
    )
    begin = time.monotonic()
    code = run_main(
        monkeypatch, machine, ["build", "sass"], {**STAGES, "build": slow}, "--limit", "1"
    )
    assert code == 1
    assert time.monotonic() - begin < 15
    (log,) = (machine / "out").glob("*-build.log")
    assert "written" in log.read_text()


def test_the_same_as_a_background_job_which_starts_with_interrupts_ignored(machine, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        test_a_stage_over_its_limit_may_write_before_it_ends(machine, monkeypatch)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_the_interrupt_is_killed(monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.2)
    deaf = python(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(deaf, stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    gpu.end(process)
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()


def test_without_a_gpu_the_message_names_what_is_missing(machine, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "MODULES", ("json", "no_such_module"))
    assert run_main(monkeypatch, machine, ["build"]) == 2
    assert "lacks no_such_module" in capsys.readouterr().err
    (machine / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\n")
    assert run_main(monkeypatch, machine, ["build"]) == 2
    assert "lists no GPU (No devices were found)" in capsys.readouterr().err


def test_the_benchmarks_stay_in_their_budget():
    """All suites, with the start of each process, take at most eight minutes."""
    suites, seconds = set(), 0.0
    for stage in gpu.expand(["bench"]):
        words = gpu.bench_command(stage, gpu.ROOT, gpu.BUDGET)
        named = words[words.index("bench") + 1 : words.index("--device")]
        suites |= set(named)
        seconds += gpu.START + len(named) * float(words[words.index("--budget") + 1])
    from gpudl.bench.suites import NAMES

    assert suites == set(NAMES)
    assert seconds <= 480


def test_bench_expands_to_its_groups():
    assert gpu.expand(["build", "bench"]) == ["build", *gpu.BENCHES, "bench-kernels"]
    assert gpu.limit_of("test", 1200, 400) == 1200
    assert gpu.limit_of("bench-gemm", 1200, 400) == pytest.approx(180)
