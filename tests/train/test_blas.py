"""Finding NumPy's BLAS and setting its number of threads."""

from gpudl.train import blas


def test_threads_are_set_and_read_back():
    before = blas.threads()
    if before is None:  # an unknown library, for which setting returns False
        assert not blas.set_threads(1)
    else:
        try:
            assert blas.set_threads(1)
            assert blas.threads() == 1
        finally:
            blas.set_threads(before)
        assert blas.describe()
