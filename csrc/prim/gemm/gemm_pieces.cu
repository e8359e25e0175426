// Exported for the predictions of time in gpudl/ops/matrix/cost.py.
#include "prim/gemm/gemm_pieces.h"

#include "core/export.h"

namespace gpudl::prim {
GPUDL_FUNCTION(gemm_pieces, m, n, k, batch);
}  // namespace gpudl::prim
