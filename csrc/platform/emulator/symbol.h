// From addresses of machine code to lines of source.
#pragma once
#include <string>

namespace gpudl::emulator {

// "file:line" of the call that returns to this address. Asks addr2line, which needs a build with -g; without either,
// the module and the offset in it.
std::string source_line(const void* return_address);

}  // namespace gpudl::emulator
