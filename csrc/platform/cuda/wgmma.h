// wgmma (sm_90a): matrix products by a warpgroup (four warps, the first a multiple of four) from shared memory.
#pragma once
#include <cstdint>
#include <type_traits>

#include "platform/host_device.h"
#include "platform/types.h"
#include "platform/wgmma_descriptor.h"

namespace gpudl::device {

#if GPUDL_HAS_SM90A

// Required before the first wgmma, and after other instructions have accessed its registers.
GPUDL_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GPUDL_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Wait until at most N committed groups are in flight.
template <int N>
GPUDL_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// The same for accumulators d: the compiler does not know that the pending products write them, and must not read them
// before the wait.
template <int N, int SIZE>
GPUDL_DEVICE void wgmma_wait(float (&d)[SIZE]) {
  wgmma_wait<N>();
#pragma unroll
  for (int i = 0; i < SIZE; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// The accumulator's registers as asm operands, eight at a time.
#define GPUDL_D8(i)                                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define GPUDL_D32(i) GPUDL_D8(i), GPUDL_D8(i + 8), GPUDL_D8(i + 16), GPUDL_D8(i + 24)
#define GPUDL_D64 GPUDL_D32(0)
#define GPUDL_D128 GPUDL_D64, GPUDL_D32(32)
#define GPUDL_D192 GPUDL_D128, GPUDL_D32(64)
#define GPUDL_D256 GPUDL_D192, GPUDL_D32(96)
#define GPUDL_D64_TEXT                                                     \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GPUDL_D128_TEXT                                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GPUDL_D192_TEXT                                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define GPUDL_D256_TEXT                                                                          \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// d[64,N] = a * b + (scale_d ? d : 0). Lane l of warp w of the four holds d[16w + l/4 + i/2%2*8][i/4*8 + l%4*2 + i%2]
// in d[i]. Operands are K-major (rows of K elements) unless the template says otherwise. A may come from registers, in
// the layout of mma_m16n8k16_bf16 (mma_m16n8k8_tf32) for the warp's 16 rows.
//
// P0, P1 …: numbers of the asm operands after the N/2 registers of d.
#define GPUDL_WGMMA16(N, T, P0, P1, P2, P3, P4, P5, P6)                                                          \
  template <bool A_M_MAJOR = false, bool B_N_MAJOR = false>                                                      \
  GPUDL_DEVICE void wgmma_m64n##N##k16_##T(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) {             \
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #P2                                                    \
                 ", 0;\n\t"                                                                                      \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T " {" GPUDL_D##N##_TEXT              \
                 "}, %" #P0 ", %" #P1 ", p, 1, 1, %" #P3 ", %" #P4 ";\n\t}"                                      \
                 : GPUDL_D##N                                                                                    \
                 : "l"(a), "l"(b), "r"(scale_d), "n"(A_M_MAJOR ? 1 : 0), "n"(B_N_MAJOR ? 1 : 0));                \
  }                                                                                                              \
  template <bool B_N_MAJOR = false>                                                                              \
  GPUDL_DEVICE void wgmma_m64n##N##k16_##T(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) { \
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #P5                                                    \
                 ", 0;\n\t"                                                                                      \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T " {" GPUDL_D##N##_TEXT              \
                 "}, {%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4 ", p, 1, 1, %" #P6 ";\n\t}"                \
                 : GPUDL_D##N                                                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(B_N_MAJOR ? 1 : 0));    \
  }
#define GPUDL_WGMMA(N, P0, P1, P2, P3, P4, P5, P6)                                                                  \
  GPUDL_WGMMA16(N, bf16, P0, P1, P2, P3, P4, P5, P6)                                                                \
  GPUDL_WGMMA16(N, f16, P0, P1, P2, P3, P4, P5, P6)                                                                 \
  GPUDL_DEVICE void wgmma_m64n##N##k8_tf32(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) {                \
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #P2                                                       \
                 ", 0;\n\t"                                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" GPUDL_D##N##_TEXT "}, %" #P0 ", %" #P1 \
                                                                                               ", p, 1, 1;\n\t}"    \
                 : GPUDL_D##N                                                                                       \
                 : "l"(a), "l"(b), "r"(scale_d));                                                                   \
  }                                                                                                                 \
  GPUDL_DEVICE void wgmma_m64n##N##k8_tf32(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) {    \
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #P5                                                       \
                 ", 0;\n\t"                                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" GPUDL_D##N##_TEXT                      \
                 "}, {%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4 ", p, 1, 1;\n\t}"                             \
                 : GPUDL_D##N                                                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d));                               \
  }
GPUDL_WGMMA(64, 32, 33, 34, 35, 36, 37, 38)
GPUDL_WGMMA(128, 64, 65, 66, 67, 68, 69, 70)
GPUDL_WGMMA(192, 96, 97, 98, 99, 100, 101, 102)
GPUDL_WGMMA(256, 128, 129, 130, 131, 132, 133, 134)
#undef GPUDL_WGMMA
#undef GPUDL_WGMMA16
#undef GPUDL_D64_TEXT
#undef GPUDL_D128_TEXT
#undef GPUDL_D192_TEXT
#undef GPUDL_D256_TEXT
#undef GPUDL_D64
#undef GPUDL_D128
#undef GPUDL_D192
#undef GPUDL_D256
#undef GPUDL_D32
#undef GPUDL_D8

// The same as a template over T: bfloat16, float16 or float (tf32, K-major operands only); 32 bytes of k at a time.
template <class T, int N, bool A_M_MAJOR = false, bool B_N_MAJOR = false>
GPUDL_DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) {
  static_assert(sizeof(T) == 2 || (!A_M_MAJOR && !B_N_MAJOR), "tf32 takes K-major operands");
#define GPUDL_WGMMA_OF(n)                                                           \
  if constexpr (N == n && sizeof(T) == 4) wgmma_m64n##n##k8_tf32(d, a, b, scale_d); \
  else if constexpr (N == n && std::is_same_v<T, gpudl::float16>)                   \
    wgmma_m64n##n##k16_f16<A_M_MAJOR, B_N_MAJOR>(d, a, b, scale_d);                 \
  else if constexpr (N == n) wgmma_m64n##n##k16_bf16<A_M_MAJOR, B_N_MAJOR>(d, a, b, scale_d);
  GPUDL_WGMMA_OF(64)
  GPUDL_WGMMA_OF(128)
  GPUDL_WGMMA_OF(192)
  GPUDL_WGMMA_OF(256)
#undef GPUDL_WGMMA_OF
}

// Move registers between warpgroups; all 128 threads call it. REGISTERS: a multiple of 8 from 24 to 256.
template <int REGISTERS>
GPUDL_DEVICE void warpgroup_increase_registers() {
  static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
GPUDL_DEVICE void warpgroup_decrease_registers() {
  static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

#endif

}  // namespace gpudl::device
