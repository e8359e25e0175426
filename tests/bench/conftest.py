"""The fixture of tests/cli that runs the command line."""

from tests.cli.conftest import gpudl  # noqa: F401 (a fixture)
