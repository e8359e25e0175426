// Operands of wgmma: the elements that a descriptor describes.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"
#include "platform/emulator/wgmma.h"

namespace gpudl::emulator {

struct WgmmaOperand {
  uint64_t descriptor;
  bool mn_major;
  WgmmaType type;
  int k;
};

// elements[row * k + column] = rows (of M or N) first to first + count - 1 of the operand, as float32.
void read_operand(const WgmmaOperand& operand, int first, int count, float* elements, const Site& site);

// Unpack one lane's registers of A into elements[16 * k].
void unpack_a_fragment(const uint32_t* fragment, int lane, const WgmmaShape& shape, float* elements);

// Report to the race detector what the running thread's warp reads through the agent.
void note_operand_reads(const WgmmaShape& shape, const WgmmaOperands& operands, unsigned agent, const Site& site);

}  // namespace gpudl::emulator
