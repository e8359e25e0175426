#include "platform/emulator/wgmma_operand.h"

#include <cstring>

#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"
#include "platform/emulator/swizzle.h"

namespace gpudl::emulator {

namespace {

constexpr int CHUNK_BYTES = 16;

struct Layout {
  uint32_t start, leading, stride;
  int width;  // of the swizzle in bytes; 0: none
};

Layout layout_of(const WgmmaOperand& operand, const Site& site) {
  const auto decode = [&](int bit) { return static_cast<uint32_t>(operand.descriptor >> bit & 0x3fff) << 4; };
  constexpr int WIDTHS[] = {0, 128, 64, 32};
  const Layout layout{decode(0), decode(16), decode(32), WIDTHS[operand.descriptor >> 62]};
  if (operand.descriptor >> 49 & 7)
    fail(site, "the descriptor has a base offset: put the tile at a multiple of 1024 bytes instead");
  const uint32_t pattern = static_cast<uint32_t>(layout.width) * 8;
  if (layout.width != 0 && layout.start % pattern >= static_cast<uint32_t>(layout.width))
    fail(site, "the operand at shared address 0x%x starts inside the swizzle pattern, which repeats every %u bytes",
         layout.start, pattern);
  return layout;
}

// The address of a 16-byte chunk of the operand (PTX manual, "Canonical Layouts"). K-major: 16 bytes along k in row mn.
// MN-major: 16 bytes along mn in column k.
uint32_t chunk_address(const Layout& layout, bool mn_major, int mn, int k, int per_chunk) {
  uint32_t address = layout.start;
  if (!mn_major) {
    const uint32_t chunk = static_cast<uint32_t>(k / per_chunk), row = static_cast<uint32_t>(mn % 8);
    address += static_cast<uint32_t>(mn / 8) * layout.stride;
    address += layout.width == 0 ? row * CHUNK_BYTES + chunk * layout.leading
                                 : row * static_cast<uint32_t>(layout.width) + chunk * CHUNK_BYTES;
  } else {
    const uint32_t chunk = static_cast<uint32_t>(mn / per_chunk), row = static_cast<uint32_t>(k % 8);
    const uint32_t rows = static_cast<uint32_t>(k / 8);
    if (layout.width == 0) {
      address += chunk * layout.stride + row * CHUNK_BYTES + rows * layout.leading;
    } else {
      const uint32_t chunks = static_cast<uint32_t>(layout.width / CHUNK_BYTES);
      address += chunk % chunks * CHUNK_BYTES + chunk / chunks * layout.leading;
      address += row * static_cast<uint32_t>(layout.width) + rows * layout.stride;
    }
  }
  return swizzled(address, layout.width);
}

// Call visit(mn, k, 16 bytes of shared memory) for every chunk of rows first to first + count - 1.
template <class Visit>
void for_each_chunk(const WgmmaOperand& operand, int first, int count, const Site& site, Visit visit) {
  const Layout layout = layout_of(operand, site);
  const int per_chunk = operand.type == WgmmaType::tf32 ? 4 : 8;
  const int mn_step = operand.mn_major ? per_chunk : 1, k_step = operand.mn_major ? 1 : per_chunk;
  for (int mn = first; mn < first + count; mn += mn_step)
    for (int k = 0; k < operand.k; k += k_step)
      visit(mn, k,
            shared_bytes(chunk_address(layout, operand.mn_major, mn, k, per_chunk), CHUNK_BYTES, CHUNK_BYTES, site));
}

float half_value(WgmmaType type, uint32_t bits) {
  const auto half = static_cast<uint16_t>(bits);
  return type == WgmmaType::f16 ? device::to_float(float16{half}) : device::to_float(bfloat16{half});
}

float tf32_value(uint32_t bits) { return device::float_of(bits & ~0x1fffu); }

}  // namespace

void read_operand(const WgmmaOperand& operand, int first, int count, float* elements, const Site& site) {
  for_each_chunk(operand, first, count, site, [&](int mn, int k, const char* chunk) {
    float value[8];
    int values = 8;
    if (operand.type == WgmmaType::tf32) {
      uint32_t bits[4];
      std::memcpy(bits, chunk, sizeof bits);
      values = 4;
      for (int i = 0; i < 4; ++i) value[i] = tf32_value(bits[i]);
    } else {
      uint16_t bits[8];
      std::memcpy(bits, chunk, sizeof bits);
      for (int i = 0; i < 8; ++i) value[i] = half_value(operand.type, bits[i]);
    }
    for (int i = 0; i < values; ++i) {
      const int row = mn - first + (operand.mn_major ? i : 0), column = k + (operand.mn_major ? 0 : i);
      elements[row * operand.k + column] = value[i];
    }
  });
}

void unpack_a_fragment(const uint32_t* fragment, int lane, const WgmmaShape& shape, float* elements) {
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i % 2 * 8;
    if (shape.type == WgmmaType::tf32) {
      elements[row * shape.k + lane % 4 + i / 2 * 4] = tf32_value(fragment[i]);
    } else {
      float* pair = elements + row * shape.k + lane % 4 * 2 + i / 2 * 8;
      pair[0] = half_value(shape.type, fragment[i]);
      pair[1] = half_value(shape.type, fragment[i] >> 16);
    }
  }
}

void note_operand_reads(const WgmmaShape& shape, const WgmmaOperands& operands, unsigned agent, const Site& site) {
  if (!race::enabled) return;
  const int row = static_cast<int>(engine.self().warp % 4) * 16;
  const auto note = [&](int, int, const char* chunk) { race::agent_access(agent, chunk, CHUNK_BYTES, false, site); };
  if (operands.a_fragment == nullptr)
    for_each_chunk({operands.a_descriptor, shape.a_m_major, shape.type, shape.k}, row, 16, site, note);
  for_each_chunk({operands.b_descriptor, shape.b_n_major, shape.type, shape.k}, 0, shape.n, site, note);
}

}  // namespace gpudl::emulator
