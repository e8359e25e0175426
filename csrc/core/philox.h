// Philox4x32-10: four random words from a 128-bit counter and a 64-bit key, without state.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
// gpudl/core/random.py is the NumPy version; both give the same bits.
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl {

struct Words {
  uint32_t word[4];
};

GPUDL_HD inline Words philox(Words counter, uint32_t key0, uint32_t key1) {
  uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<uint32_t>(p0);
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return {{c0, c1, c2, c3}};
}

// Block number `block` of a draw. counter: [seed, stream, offset] of the draw (Generator.take in gpudl/core/random.py).
GPUDL_HD inline Words random_words(const int64_t* counter, int64_t block) {
  const uint64_t seed = static_cast<uint64_t>(counter[0]), stream = static_cast<uint64_t>(counter[1]);
  const uint64_t number = static_cast<uint64_t>(counter[2]) + static_cast<uint64_t>(block);
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  return philox({{low(number), high(number), low(stream), high(stream)}}, low(seed), high(seed));
}

}  // namespace gpudl
