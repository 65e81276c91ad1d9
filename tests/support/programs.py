"""Programs of the system that some tests start."""

import os
import shutil

import pytest


def needed(name: str) -> str:
    """Its path; the test is skipped where it is not installed, or fails with CI set."""
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=search)
    if found is not None:
        return found
    reason = f"{name} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and with CI set that is a failure", pytrace=False)
    pytest.skip(reason)
