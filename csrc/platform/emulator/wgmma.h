// wgmma: asynchronous matrix products by a warpgroup (four warps, the first a multiple of four) from shared memory.
// Here each warp computes its 16 rows when it waits; until then the accumulators are NaN.
#pragma once
#include <cstdint>
#include <type_traits>

#include "platform/emulator/error.h"
#include "platform/float16.h"
#include "platform/wgmma_descriptor.h"

namespace gpudl::emulator {

struct Thread;

enum class WgmmaType { bf16, f16, tf32 };

struct WgmmaShape {
  int n, k;
  WgmmaType type;
  bool a_m_major, b_n_major;
};

// One product d[64,n] = a[64,k] * b[k,n] + (scale_d ? d : 0). a_fragment is null if A is in shared memory.
struct WgmmaOperands {
  uint64_t a_descriptor;
  const uint32_t* a_fragment;
  uint64_t b_descriptor;
  int scale_d;
};

void wgmma(float* d, const WgmmaShape& shape, const WgmmaOperands& operands, const Site& site);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(size_t groups_left, const Site& site);

void begin_wgmma();  // for new blocks
void check_products_complete(const Thread& thread);

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// Required before the first wgmma, and after other instructions have accessed its registers.
inline void wgmma_fence() { emulator::wgmma_fence(); }
inline void wgmma_commit() { emulator::wgmma_commit(); }
// Wait until at most N committed groups are in flight.
template <int N>
inline void wgmma_wait(Site site = Site::here("wgmma_wait")) {
  emulator::wgmma_wait(N, site);
}
// The same for the accumulators that the products write.
template <int N, int SIZE>
inline void wgmma_wait(float (&)[SIZE], Site site = Site::here("wgmma_wait")) {
  emulator::wgmma_wait(N, site);
}

// d[64,N] = a * b + (scale_d ? d : 0). Lane l of warp w of the four holds d[16w + l/4 + i/2%2*8][i/4*8 + l%4*2 + i%2]
// in d[i]. Operands are K-major (rows of K elements) unless the template says otherwise. A may come from registers, in
// the layout of mma_m16n8k16_bf16 (mma_m16n8k8_tf32) for the warp's 16 rows.
#define GPUDL_WGMMA16(N, T)                                                                                    \
  template <bool A_M_MAJOR = false, bool B_N_MAJOR = false>                                                    \
  inline void wgmma_m64n##N##k16_##T(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d,                   \
                                     Site site = Site::here("wgmma_m64n" #N "k16_" #T)) {                      \
    emulator::wgmma(d, {N, 16, emulator::WgmmaType::T, A_M_MAJOR, B_N_MAJOR}, {a, nullptr, b, scale_d}, site); \
  }                                                                                                            \
  template <bool B_N_MAJOR = false>                                                                            \
  inline void wgmma_m64n##N##k16_##T(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d,       \
                                     Site site = Site::here("wgmma_m64n" #N "k16_" #T)) {                      \
    emulator::wgmma(d, {N, 16, emulator::WgmmaType::T, false, B_N_MAJOR}, {0, a, b, scale_d}, site);           \
  }
#define GPUDL_WGMMA(N)                                                                                   \
  GPUDL_WGMMA16(N, bf16)                                                                                 \
  GPUDL_WGMMA16(N, f16)                                                                                  \
  inline void wgmma_m64n##N##k8_tf32(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d,             \
                                     Site site = Site::here("wgmma_m64n" #N "k8_tf32")) {                \
    emulator::wgmma(d, {N, 8, emulator::WgmmaType::tf32, false, false}, {a, nullptr, b, scale_d}, site); \
  }                                                                                                      \
  inline void wgmma_m64n##N##k8_tf32(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d, \
                                     Site site = Site::here("wgmma_m64n" #N "k8_tf32")) {                \
    emulator::wgmma(d, {N, 8, emulator::WgmmaType::tf32, false, false}, {0, a, b, scale_d}, site);       \
  }
GPUDL_WGMMA(64)
GPUDL_WGMMA(128)
GPUDL_WGMMA(192)
GPUDL_WGMMA(256)
#undef GPUDL_WGMMA
#undef GPUDL_WGMMA16

// The same as a template over T: bfloat16, float16 or float (tf32, K-major operands only); 32 bytes of k at a time.
template <class T, int N, bool A_M_MAJOR = false, bool B_N_MAJOR = false>
inline void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d, Site site = Site::here("wgmma")) {
  static_assert(sizeof(T) == 2 || (!A_M_MAJOR && !B_N_MAJOR), "tf32 takes K-major operands");
  constexpr auto type = sizeof(T) == 4                      ? emulator::WgmmaType::tf32
                        : std::is_same_v<T, gpudl::float16> ? emulator::WgmmaType::f16
                                                            : emulator::WgmmaType::bf16;
  emulator::wgmma(d, {N, 32 / sizeof(T), type, A_M_MAJOR, B_N_MAJOR}, {a, nullptr, b, scale_d}, site);
}

// Move registers between warpgroups; all 128 threads call it. REGISTERS: a multiple of 8 from 24 to 256. No-ops here.
template <int REGISTERS>
inline void warpgroup_increase_registers() {
  static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
}
template <int REGISTERS>
inline void warpgroup_decrease_registers() {
  static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
}

}  // namespace gpudl::device
