"""A file system that is soon full."""

import os
import shutil
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes; skipped where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def free_bytes(disk):
    """What can still be written."""
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def leave(disk, count):
    """Fill the disk but for so many bytes; None empties what has filled it."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    if count is not None and free_bytes(disk) > count:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_bytes(disk) - count)
