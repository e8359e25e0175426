"""Runs a command, and shows how long it has taken and the line that it printed last.

    python scripts/watch.py "building the emulator" command argument ...

In a terminal the line is redrawn in place; in a file it is added every 15 seconds. What the command
printed is shown only if it fails. Exits with the command's code. Needs only the standard library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

TERMINAL_EVERY, FILE_EVERY = 0.5, 15.0  # seconds
LONGEST = 80  # characters of what the command printed


def watch(title: str, command: list[str]) -> int:
    in_terminal = sys.stdout.isatty()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    start = time.monotonic()
    reader.start()
    show(title, "", 0, in_terminal)
    try:
        while reader.is_alive():
            reader.join(TERMINAL_EVERY if in_terminal else FILE_EVERY)
            latest = lines[-1].strip() if lines else ""
            show(title, latest, time.monotonic() - start, in_terminal)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
    code = process.wait()
    show(title, "", time.monotonic() - start, in_terminal)
    if in_terminal:
        print()
    if code != 0:
        sys.stderr.writelines(lines)
    return 128 - code if code < 0 else code


def show(title: str, detail: str, seconds: float, in_terminal: bool) -> None:
    text = f"{title}: {seconds:.0f} s" + (f", {detail[:LONGEST]}" if detail else "")
    if in_terminal:
        width = os.get_terminal_size(sys.stdout.fileno()).columns - 1
        print(f"\r{text[:width]:<{width}}", end="", flush=True)
    else:
        print(text, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(watch(sys.argv[1], sys.argv[2:]))
