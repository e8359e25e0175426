"""docs/own-model.md: its blocks run as printed, in order, and the models learn."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path):
    """The files that the page's reader has: a table, pictures and texts, of separable classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    values = rng.normal(labels[:, None] * [3, -2, 1, 0], 1)
    lines = [
        f"{','.join(f'{v:.3f}' for v in row)},{k}" for row, k in zip(values, labels, strict=True)
    ]
    (tmp_path / "measurements.csv").write_text("a,b,c,d,class\n" + "\n".join(lines) + "\n")
    for name, colour in (("cat", (220, 120, 40)), ("dog", (40, 90, 210))):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = rng.normal(colour, 40, (40 + number % 3, 48, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "reviews").mkdir()
    reviews = {"bad": ["boring", "awful", "noise"], "good": ["great", "lovely", "fun"]}
    for name, words in reviews.items():
        texts = [f"a {rng.choice(words)} film, {rng.choice(words)}" for _ in range(60)]
        (tmp_path / "reviews" / f"{name}.txt").write_text("\n".join(texts))
    return tmp_path


@pytest.mark.slow
def test_every_block_runs_in_order(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(str(files))
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for block in BLOCKS:
            first = block.splitlines()[0]
            if first.startswith("# "):
                (files / first[2:]).write_text(block)
            else:
                exec(compile(block, "own-model.md", "exec"), names)
    text = out.getvalue()
    share = re.search(r"(\d+)% of the test lines are classified correctly", text)
    assert int(share[1]) >= 90
    assert "48 pictures for training, classes ('cat', 'dog')" in text
    assert (files / "curves.png").stat().st_size > 10_000
    assert len(names["history"]) == 8
    words = re.search(r"^    python (predict.py .*)$", TEXT, re.MULTILINE)[1].split()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"photos/cat/1.png: cat, \d+%\nphotos/dog/1.png: dog, \d+%\n", done.stdout)
