"""A pytest plugin (-p bench.no_pool) that turns off CuPy's memory pool.

Within a pool, compute-sanitizer cannot see an overrun from one array into the next.
"""

import cupy

cupy.cuda.set_allocator(None)
