// Errors of the emulator: a kernel's mistake, with its source line and the thread that made it.
#pragma once
#include <cstring>
#include <stdexcept>

namespace gpudl::emulator {

// A place in a kernel's source: the last, defaulted argument of every built-in that kernels may use.
struct Site {
  const char* file = "";
  int line = 0;
  const char* word = "";  // the built-in called there: "__syncthreads", "ldmatrix" …

  static constexpr Site here(const char* word, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line, word};
  }
  bool same_place(const Site& other) const {
    return line == other.line && same_text(word, other.word) && same_text(file, other.file);
  }

 private:
  static bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
};

class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throw an Error that reads "file:line: word: <message> [block (x,y,z), thread (x,y,z)]".
[[noreturn]] void fail(const Site& site, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace gpudl::emulator
