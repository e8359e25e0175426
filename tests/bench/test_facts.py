"""Queries to nvidia-smi, including one that an old version refuses."""

import os

import pytest

from gpudl.bench.facts import GPU_FACTS, environment, gpu_facts


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Returns a function that installs a shell script as nvidia-smi."""

    def write(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    return write


def test_all_facts_in_one_query(smi):
    facts = [f"v{i}" for i in range(len(GPU_FACTS))]
    smi(f'echo "{", ".join(facts)}"')
    assert list(gpu_facts("cuda:1").values()) == facts


def test_an_old_driver_answers_what_it_knows(smi):
    smi('case "$2" in --query-gpu=name) echo H100;; *) exit 2;; esac')
    assert gpu_facts("cuda") == {"name": "H100"}


def test_the_environment_of_a_cpu():
    facts = environment("cpu")
    assert facts["hardware"]
    assert facts["versions"]["numpy"]
    assert "gpu" not in facts
