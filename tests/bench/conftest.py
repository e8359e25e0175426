"""The command line, as the tests of gpudl/cli call it."""

from tests.cli.conftest import gpudl  # noqa: F401 (a fixture)
