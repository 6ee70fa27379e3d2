"""Watching a process that writes a file whole or not at all."""

import os
import time

import pytest


def need_nameless_files(folder):
    """Skips the test where the file system has no files without a name."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    except OSError as e:
        pytest.skip(f"no nameless file in {folder}: {e}")


def holds_open(pid, folder):
    """Whether the process has a file of this folder open, named or not."""
    for fd in os.scandir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(fd.path).startswith(f"{folder}/"):
                return True
        except FileNotFoundError:
            pass  # closed meanwhile
    return False


def wait_until(process, folder, seconds=60):
    """Until the process writes in the folder."""
    deadline = time.monotonic() + seconds
    while not holds_open(process.pid, folder):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
