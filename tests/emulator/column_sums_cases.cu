// Column sums (prim/column_sums.h) with every kind of row function, whole and in parts, vectorised and one by one.
#include <numeric>

#include "harness.h"
#include "prim/column_sums.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;
using harness::whole_numbers;

namespace {

struct Problem {
  int rows, columns;
  int room = 0;    // number of parts that fit into the workspace
  int offset = 0;  // elements by which the arrays miss 16-byte alignment
};

// f computes the rows from dy; passes[i]: whether element i is dy or zero.
template <class F>
void check_sums(const Problem& p, F f, const std::vector<float>& dy, const std::vector<bool>& passes) {
  const size_t size = static_cast<size_t>(p.rows) * p.columns;
  std::vector<float> expected(size), sums(p.columns);
  for (size_t i = 0; i < size; ++i) {
    expected[i] = passes[i] ? dy[i] : 0;
    sums[i % p.columns] += expected[i];
  }
  std::vector<float> stored(p.offset);
  stored.insert(stored.end(), dy.begin(), dy.end());
  Buffer<float> input(stored), rows(size + p.offset, -1), total(p.columns, -1);
  Buffer<float> workspace(static_cast<size_t>(p.room) * p.columns, -1);
  prim::column_sums(f, static_cast<const float*>(input.data()) + p.offset, rows.data() + p.offset, p.rows, p.columns,
                    total.data(), View<float, 1>{workspace.data(), {p.room * p.columns}});
  const auto all = rows.get();
  expect_equal({all.begin() + p.offset, all.end()}, expected);
  expect_equal(total.get(), sums);
}

void check_all(const Problem& p) {
  const size_t size = static_cast<size_t>(p.rows) * p.columns;
  const auto dy = whole_numbers(size, 1), y = whole_numbers(size, 2);
  check_sums(p, prim::PassOn{}, dy, std::vector<bool>(size, true));
  std::vector<bool> positive(size);
  for (size_t i = 0; i < size; ++i) positive[i] = y[i] > 0;
  std::vector<float> stored(p.offset);
  stored.insert(stored.end(), y.begin(), y.end());
  Buffer<float> saved(stored);
  check_sums(p, prim::PassSaved<float, prim::ReluGradient>{saved.data() + p.offset, {}}, dy, positive);
  const int bytes = (p.columns + 7) / 8;
  std::vector<uint8_t> bits(static_cast<size_t>(p.rows) * bytes);
  for (size_t i = 0; i < size; ++i)
    if (positive[i]) bits[i / p.columns * bytes + i % p.columns / 8] |= static_cast<uint8_t>(1 << (i % p.columns % 8));
  Buffer<uint8_t> mask(bits);
  check_sums(p, prim::PassReluBits{mask.data()}, dy, positive);
}

CASE(column_sums_alone) {
  check_all({.rows = 37, .columns = 12});
  check_all({.rows = 70, .columns = 136});
  check_all({.rows = 1, .columns = 4});
  check_all({.rows = 0, .columns = 4});
}

CASE(column_sums_one_by_one) {
  check_all({.rows = 37, .columns = 13});
  check_all({.rows = 19, .columns = 67});
  check_all({.rows = 37, .columns = 12, .offset = 1});
}

CASE(column_sums_in_parts) {
  check_all({.rows = 800, .columns = 128, .room = 6});
  check_all({.rows = 1700, .columns = 5, .room = 3});
  check_all({.rows = 300, .columns = 132, .room = 9});
}

}  // namespace
