"""The operators' door with fakes behind it."""

import pytest

from tests.support.door import Door


@pytest.fixture
def door() -> Door:
    return Door()
