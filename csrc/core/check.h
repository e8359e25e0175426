// Checks of launcher arguments. A failed check throws an exception that names the argument; nothing is launched.
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

// Throw unless `array` is dense (no gaps, no overlap) with its axes in `order`, from slowest to fastest. Axes of size 1
// and empty arrays fit any order.
void check_dense(const Array& array, const int* order, const std::string& argument, const char* layout);

// Kernels index the elements of an array with 32 bits. Those that do not take Matrices or rows.
void check_size(const Array& array, const std::string& argument);

// Throw unless the array is dense in some order; returns its number of elements.
int64_t check_any_dense(const Array& array, const std::string& argument);

// For layout `rows`: throw unless the array is row-major with at least rank - 1 axes; returns its number of elements.
int64_t check_rows(const Array& array, int rank, const std::string& argument);

// Whether the arrays share any byte.
bool overlap(const Array& a, const Array& b);

// Whether both arrays have the same memory order, so that equal offsets hold the same logical element.
bool same_order(const Array& a, const Array& b);

}  // namespace gpudl
