// A program of named cases. `program NAME` runs one case and prints "ok", or the error, with exit status 1; without a
// name it lists the cases. Built with the emulator it runs anywhere; built by nvcc it runs the same cases on a GPU.
#pragma once
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "platform/device.h"

namespace harness {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

#define CASE(name)                                                                    \
  static void name();                                                                 \
  static const bool name##_added = (harness::cases().push_back({#name, name}), true); \
  static void name()

// A kernel with a bug that PLANTED switches on: one case has the bug, which must be reported, one does not. A comment
// "planted: name" marks the line that the report must name.
#define BUG(name)                             \
  template <bool PLANTED>                     \
  static void name##_run();                   \
  CASE(name) { name##_run<true>(); }          \
  CASE(name##_clean) { name##_run<false>(); } \
  template <bool PLANTED>                     \
  static void name##_run()

#if defined(__CUDACC__)
inline void check(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}
inline void* allocate(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes));
  return memory;
}
inline void release(void* memory) { cudaFree(memory); }
inline void copy(void* to, const void* from, size_t bytes) {
  check(cudaDeviceSynchronize());
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
}
#else
// Exactly as large as requested, so that AddressSanitizer reports an overrun by one byte.
inline void* allocate(size_t bytes) { return ::operator new(bytes, std::align_val_t{16}); }
inline void release(void* memory) { ::operator delete(memory, std::align_val_t{16}); }
inline void copy(void* to, const void* from, size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
#endif

// An array in device memory.
template <class T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values) : size_(values.size()), data_(allocate(size_ * sizeof(T))) {
    copy(data_, values.data(), size_ * sizeof(T));
  }
  explicit Buffer(size_t size, T value = T()) : Buffer(std::vector<T>(size, value)) {}
  ~Buffer() { release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> get() const {
    std::vector<T> values(size_);
    copy(values.data(), data_, size_ * sizeof(T));
    return values;
  }

 private:
  size_t size_;
  void* data_;
};

template <class T>
void expect_equal(const std::vector<T>& actual, const std::vector<T>& expected) {
  if (actual.size() != expected.size()) throw std::runtime_error("WRONG: a different number of values");
  for (size_t i = 0; i < actual.size(); ++i)
    if (!(actual[i] == expected[i]))
      throw std::runtime_error("WRONG: value " + std::to_string(i) + " is " + std::to_string(actual[i]) +
                               ", expected " + std::to_string(expected[i]));
}

// Small integers: exact in bfloat16 and tf32, and their sums of products are exact in any order.
inline std::vector<float> whole_numbers(size_t count, unsigned seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 24) % 9 - 4);
  }
  return values;
}

inline std::vector<gpudl::bfloat16> to_bfloat16(const std::vector<float>& values) {
  std::vector<gpudl::bfloat16> rounded;
  for (const float value : values) rounded.push_back(gpudl::device::to_bfloat16(value));
  return rounded;
}

template <class T>
std::vector<T> rounded(const std::vector<float>& values) {
  std::vector<T> result;
  for (const float value : values) {
    if constexpr (sizeof(T) == 4) result.push_back(value);
    else if constexpr (std::is_same_v<T, gpudl::float16>) result.push_back(gpudl::device::to_float16(value));
    else result.push_back(gpudl::device::to_bfloat16(value));
  }
  return result;
}

// c[m,n] = sum over k of a[m,k] * b[k,n]
inline std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, int m, int n, int k) {
  std::vector<float> c(static_cast<size_t>(m) * n, 0.0f);
  for (int i = 0; i < m; ++i)
    for (int x = 0; x < k; ++x)
      for (int j = 0; j < n; ++j) c[i * n + j] += a[i * k + x] * b[x * n + j];
  return c;
}

inline std::vector<float> transposed(const std::vector<float>& a, int rows, int columns) {
  std::vector<float> t(a.size());
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) t[j * rows + i] = a[i * columns + j];
  return t;
}

}  // namespace harness
