// Checks of launcher arguments. A failed check is an exception that names the argument; nothing has been launched by
// then.
#pragma once
#include <stdexcept>
#include <string>

#include "core/registry.h"

namespace gpudl {

[[noreturn]] inline void refuse(const std::string& argument, const std::string& why) {
  throw std::invalid_argument(argument + ": " + why);
}

inline void check(bool condition, const std::string& argument, const std::string& why) {
  if (!condition) refuse(argument, why);
}

std::string describe(const Array& array);

// The axes of `array` from slowest to fastest in memory, if it is dense (no gaps, no overlap); else an exception.
// Axes of size 1 and empty arrays fit any order.
void check_dense(const Array& array, const int* order, const std::string& argument, const char* layout);

// Kernels count the elements of one array in 32 bits. Those that do not take Matrices, or rows.
void check_size(const Array& array, const std::string& argument);

// An array that is dense in any order; returns its number of elements.
int64_t check_any_dense(const Array& array, const std::string& argument);

// An array that is row-major and has at least rank - 1 axes, for layout `rows`; returns its number of elements.
int64_t check_rows(const Array& array, int rank, const std::string& argument);

// Does any byte belong to both?
bool overlap(const Array& a, const Array& b);

// Do both arrays put the same logical element at the same place in memory?
bool same_order(const Array& a, const Array& b);

}  // namespace gpudl
