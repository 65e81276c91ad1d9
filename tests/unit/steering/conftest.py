import pytest

from tests.unit.steering.world import World


@pytest.fixture
def world() -> World:
    return World()
