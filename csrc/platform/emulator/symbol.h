// Source lines of machine code addresses.
#pragma once
#include <string>

namespace gpudl::emulator {

// "file:line" of the call that returns to this address, from addr2line and a build with -g; else the module and the
// offset in it.
std::string source_line(const void* return_address);

}  // namespace gpudl::emulator
