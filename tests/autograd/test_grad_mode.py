"""Switching the tape on and off, as in PyTorch."""

import pytest

import gpudl
from gpudl import is_grad_enabled


@pytest.fixture(autouse=True)
def restored():
    before = is_grad_enabled()
    yield
    gpudl.set_grad_enabled(before)


def test_as_a_statement_it_switches_at_once():
    gpudl.set_grad_enabled(False)
    assert not is_grad_enabled()
    gpudl.set_grad_enabled(True)
    assert is_grad_enabled()


def test_as_a_context_manager_it_restores_the_previous_mode():
    with gpudl.set_grad_enabled(False):
        assert not is_grad_enabled()
        with gpudl.enable_grad():
            assert is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


@pytest.mark.parametrize(
    "decorator",
    [gpudl.no_grad, lambda f: gpudl.no_grad()(f), lambda f: gpudl.set_grad_enabled(False)(f)],
    ids=["no_grad", "no_grad()", "set_grad_enabled(False)"],
)
def test_as_a_decorator_it_switches_while_the_function_runs(decorator):
    gpudl.set_grad_enabled(True)

    @decorator
    def function(a, *, b=2):
        """A docstring."""
        return a, b, is_grad_enabled()

    assert is_grad_enabled()
    assert function(1, b=3) == (1, 3, False)
    assert is_grad_enabled()
    assert (function.__name__, function.__doc__) == ("function", "A docstring.")


def test_decorating_with_set_grad_enabled_does_not_change_the_mode():
    @gpudl.set_grad_enabled(False)
    def function():
        return is_grad_enabled()

    assert is_grad_enabled()
    assert function() is False
    assert is_grad_enabled()


def test_a_generator_runs_without_recording_but_its_user_does_not():
    @gpudl.no_grad()
    def numbers(n):
        seen = []
        for i in range(n):
            try:
                seen.append((i, is_grad_enabled(), (yield is_grad_enabled())))
            except KeyError:
                seen.append("KeyError")
        return seen

    generator = numbers(3)
    assert next(generator) is False
    assert is_grad_enabled()
    assert generator.send("sent") is False
    assert generator.throw(KeyError) is False
    with pytest.raises(StopIteration) as done:
        next(generator)
    assert done.value.value == [(0, False, "sent"), "KeyError", (2, False, None)]
    assert is_grad_enabled()


def test_a_generator_that_is_closed_cleans_up_without_recording():
    modes = []

    @gpudl.no_grad()
    def numbers():
        try:
            yield 1
        finally:
            modes.append(is_grad_enabled())

    generator = numbers()
    next(generator)
    generator.close()
    assert modes == [False]
    assert is_grad_enabled()
