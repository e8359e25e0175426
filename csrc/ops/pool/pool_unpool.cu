// Max unpooling: y[indices] = x, zero elsewhere. Which of several equal indices wins must not depend on the order of
// threads: the last in row-major order does, found by an atomic integer maximum, which does not depend on order.
// Grid: one thread per element, of y to clear and to write, of x to claim.
#include "core/export.h"
#include "ops/pool/pool.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int NOBODY = -1;

// sass: max_unpool_clear_kernel STG registers<=32
__global__ void __launch_bounds__(VOLUME_BLOCK) max_unpool_clear_kernel(int* owner, unsigned count) {
  const unsigned at = blockIdx.x * VOLUME_BLOCK + threadIdx.x;
  if (at < count) owner[at] = NOBODY;
}

// The offset in a channels-last volume of an index that is flat in the spatial axes; -1 outside.
template <class T>
GPUDL_DEVICE int64_t spread(const Volume<T>& volume, int n, int64_t index, int c) {
  const int64_t plane = static_cast<int64_t>(volume.dim[1]) * volume.dim[2] * volume.dim[3];
  return index >= 0 && index < plane ? (n * plane + index) * volume.dim[4] + c : -1;
}

// owner = the largest row-major number, within its plane, of an element of x that goes there.
// sass: max_unpool_claim_kernel registers<=48
__global__ void __launch_bounds__(VOLUME_BLOCK)
    max_unpool_claim_kernel(Volume<const int64_t> indices, Volume<float> y, int* owner, Places places) {
  const Place at = places.find<1>();
  if (!at.inside) return;
  const int64_t to = spread(y, at.n, indices.data[at.offset], at.c);
  if (to < 0) return;
  atomicMax(owner + to, (at.d * indices.dim[2] + at.h) * indices.dim[3] + at.w);
}

// sass: max_unpool_write_kernel LDG STG registers<=48
__global__ void __launch_bounds__(VOLUME_BLOCK)
    max_unpool_write_kernel(Volume<const float> x, const int* owner, Volume<float> y, Places places) {
  const Place at = places.find<1>();
  if (!at.inside) return;
  const int from = owner[at.offset];
  y.data[at.offset] = from == NOBODY ? 0 : x.data[spread(x, at.n, from, at.c)];
}

// dx = dy at the indices.
// sass: max_unpool_backward_kernel LDG STG registers<=48
__global__ void __launch_bounds__(VOLUME_BLOCK)
    max_unpool_backward_kernel(Volume<const float> dy, Volume<const int64_t> indices, Volume<float> dx, Places places) {
  const Place at = places.find<1>();
  if (!at.inside) return;
  const int64_t from = spread(dy, at.n, indices.data[at.offset], at.c);
  dx.data[at.offset] = from < 0 ? 0 : dy.data[from];
}

void max_unpool_forward_owner(Volume<const float> x, Volume<const int64_t> indices, Volume<float> y,
                              View<float, 1> workspace) {
  static_assert(sizeof(int) == sizeof(float));
  int* owner = reinterpret_cast<int*>(workspace.data);
  const Places out(y, 1), in(x, 1);
  launch(max_unpool_clear_kernel, out.grid(), VOLUME_BLOCK, 0, owner, out.threads);
  launch(max_unpool_claim_kernel, in.grid(), VOLUME_BLOCK, 0, indices, y, owner, in);
  launch(max_unpool_write_kernel, out.grid(), VOLUME_BLOCK, 0, x, owner, y, out);
}

// The last writer of each element.
int64_t max_unpool_workspace(Volume<const float> y) { return y.size(); }
GPUDL_EXPORT(max_unpool, forward, owner, x, indices, y, workspace).workspace<max_unpool_workspace>("y");

void max_unpool_backward_owner(Volume<const float> dy, Volume<const int64_t> indices, Volume<float> dx) {
  const Places places(dx, 1);
  launch(max_unpool_backward_kernel, places.grid(), VOLUME_BLOCK, 0, dy, indices, dx, places);
}
GPUDL_EXPORT(max_unpool, backward, owner, dy, indices, dx);

}  // namespace
}  // namespace gpudl
