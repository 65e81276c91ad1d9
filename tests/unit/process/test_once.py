"""What is said once."""

from mspc.process.once import Once


def test_the_same_is_said_once_and_again_when_it_has_passed() -> None:
    failure = Once()
    assert failure.is_new("full")
    assert not failure.is_new(OSError("full"))
    assert failure.is_new("away")
    assert failure.is_new("full")
    failure.forget()
    assert failure.is_new("full")
