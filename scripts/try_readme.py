"""Does what the README says, as a newcomer would: in a fresh clone and an 80-column terminal.

    python scripts/try_readme.py [--silence SECONDS]

Clones this repository, runs `make train`, and then every command and program of the README without
a network. Shows each command's time and longest silence; exits with 1 after a failed command, a
traceback, a line wider than the terminal or a silence longer than SECONDS (default: 3). Commands
that install with pip are left to tests/build. Needs only the standard library, and a network for
make train.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 80
NOWHERE = "http://127.0.0.1:9"  # where no proxy listens


class Shown(NamedTuple):
    """What a command showed: its text, exit code, seconds and longest silence in seconds."""

    text: str
    code: int
    seconds: float
    silence: float


def fresh_copy(folder: Path) -> None:
    """A clone of this repository; without git, a copy without what was built."""
    clone = ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(folder)]
    if subprocess.run(clone, check=False).returncode:
        built = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.so", "__pycache__")
        shutil.copytree(ROOT, folder, ignore=built)


def run(command: str, folder: Path, env: dict[str, str]) -> Shown:
    """Runs a command of bash in a pseudo-terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    start = last = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    text, silence = b"", 0.0
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while True:
            ready, _, _ = select.select([ours], [], [], 1.0)
            now = time.monotonic()
            if ready:
                part = os.read(ours, 65536)
                if not part:
                    break
                text += part
                silence, last = max(silence, now - last), now
    os.close(ours)
    code = process.wait()
    return Shown(text.decode(errors="replace"), code, time.monotonic() - start, silence)


def problems(shown: Shown, silence: float) -> list[str]:
    lines = [line.split("\r")[-1] for line in shown.text.replace("\r\n", "\n").split("\n")]
    wide = [line for line in lines if len(line) > WIDTH]
    found = []
    if shown.code:
        found.append(f"exit code {shown.code}")
    if "Traceback (most recent call last)" in shown.text:
        found.append("a traceback")
    if wide:
        found.append(f"{len(wide)} lines wider than {WIDTH}, such as {wide[0]!r}")
    if shown.silence > silence:
        found.append(f"a silence of {shown.silence:.1f} s")
    return found


def commands(text: str) -> list[str]:
    """The README's commands in order, without comments; `source` holds for those that follow."""
    lines = re.findall(r"^    ((?:make|gpudl|source|python) .*)$", text, re.MULTILINE)
    return [line.partition(" #")[0].strip() for line in lines]


def programs(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--silence", type=float, default=3.0, metavar="SECONDS")
    options = parser.parse_args()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    hidden = ("GPUDL_", "PYTHON", "VIRTUAL_ENV", "COLUMNS", "MAKE", "MFLAGS")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {"TERM": "xterm"}
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "gpudl"
        fresh_copy(clone)
        offline = env | dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), NOWHERE)
        offline |= {"XDG_CACHE_HOME": temporary}
        before = ""
        todo = commands(readme)
        for number, program in enumerate(programs(readme)):
            (clone / f"readme_{number}.py").write_text(program, encoding="utf-8")
            todo.append(f"python readme_{number}.py")
        for command in todo:
            if command.startswith("source "):
                before += f"{command} && "
                continue
            shown = run(before + command, clone, env if command.startswith("make") else offline)
            wrong = problems(shown, options.silence)
            failed += bool(wrong)
            verdict = "; ".join(wrong) or "ok"
            print(f"{shown.seconds:5.1f} s, silent {shown.silence:4.1f} s  {command}: {verdict}")
            if wrong:
                print(re.sub(r"[^\n]*\r(?!\n)", "", shown.text))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
