"""A pytest plugin (-p bench.no_pool): CuPy allocates each array by itself.

Within a memory pool, compute-sanitizer takes an overrun into the next array for a lawful access.
"""

import cupy

cupy.cuda.set_allocator(None)
