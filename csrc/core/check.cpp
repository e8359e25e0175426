#include "core/check.h"

#include <algorithm>
#include <climits>
#include <numeric>

namespace gpudl {

namespace {

int64_t size_of(const Array& array) {
  return std::accumulate(array.shape, array.shape + array.rank, int64_t{1}, std::multiplies<>());
}

// The first byte, and the byte after the last.
std::pair<const char*, const char*> bytes_of(const Array& array) {
  const char* first = static_cast<const char*>(array.data);
  const char* last = first;
  for (int axis = 0; axis < array.rank; ++axis) {
    const int64_t reach = (array.shape[axis] - 1) * array.stride[axis] * bytes_of(array.dtype);
    (reach < 0 ? first : last) += reach;
  }
  return {first, last + bytes_of(array.dtype)};
}

std::string list(const int64_t* values, int n) {
  std::string text = "(";
  for (int i = 0; i < n; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + ")";
}

// order: the axes from slowest to fastest
bool is_dense(const Array& array, const int* order) {
  int64_t expected = 1;
  for (int i = array.rank - 1; i >= 0; --i) {
    const int axis = order[i];
    if (array.shape[axis] != 1 && array.stride[axis] != expected) return false;
    expected *= array.shape[axis];
  }
  return true;
}

}  // namespace

std::string describe(const Array& array) {
  return std::string(name_of(array.dtype)) + " of shape " + list(array.shape, array.rank) + " with strides " +
         list(array.stride, array.rank);
}

void check_dense(const Array& array, const int* order, const std::string& argument, const char* layout) {
  for (int axis = 0; axis < array.rank; ++axis)
    check(array.shape[axis] <= INT_MAX, argument,
          "axis " + std::to_string(axis) + " has " + std::to_string(array.shape[axis]) +
              " elements; a kernel takes at most 2147483647");
  if (size_of(array) != 0 && !is_dense(array, order))
    refuse(argument, "must be dense in " + std::string(layout) + " order, got " + describe(array));
}

void check_size(const Array& array, const std::string& argument) {
  const int64_t size = size_of(array);
  check(size <= INT_MAX, argument,
        "has " + std::to_string(size) + " elements; a kernel takes at most 2147483647 (split the batch)");
}

int64_t check_any_dense(const Array& array, const std::string& argument) {
  const int64_t size = size_of(array);
  check_size(array, argument);
  int order[MAX_RANK];
  std::iota(order, order + array.rank, 0);
  std::stable_sort(order, order + array.rank, [&](int a, int b) { return array.stride[a] > array.stride[b]; });
  if (size != 0 && !is_dense(array, order)) refuse(argument, "must be dense, got " + describe(array));
  return size;
}

int64_t check_rows(const Array& array, int rank, const std::string& argument) {
  const int64_t size = size_of(array);
  check(array.rank >= rank - 1, argument, "must have at least one axis, got " + describe(array));
  check(rank == 2 || size <= INT_MAX, argument,
        "has " + std::to_string(size) + " elements; a kernel takes at most 2147483647");
  const int64_t rows = rank == 2 && size != 0 ? size / array.shape[array.rank - 1] : size;
  check(rows <= INT_MAX, argument, "has " + std::to_string(rows) + " rows; a kernel takes at most 2147483647");
  int order[MAX_RANK];
  std::iota(order, order + array.rank, 0);
  check_dense(array, order, argument, "row-major");
  return size;
}

bool overlap(const Array& a, const Array& b) {
  if (a.device != b.device || size_of(a) == 0 || size_of(b) == 0) return false;
  const auto [first_a, last_a] = bytes_of(a);
  const auto [first_b, last_b] = bytes_of(b);
  return first_a < last_b && first_b < last_a;
}

bool same_order(const Array& a, const Array& b) {
  if (a.rank != b.rank || !std::equal(a.shape, a.shape + a.rank, b.shape)) return size_of(a) == 0 || a.rank != b.rank;
  for (int axis = 0; axis < a.rank; ++axis)
    if (a.shape[axis] != 1 && a.stride[axis] != b.stride[axis]) return size_of(a) == 0;
  return true;
}

}  // namespace gpudl
