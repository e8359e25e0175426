#include "platform/emulator/symbol.h"

#include <dlfcn.h>
#include <elf.h>

#include <cstdint>
#include <cstdio>

namespace gpudl::emulator {

std::string source_line(const void* return_address) {
  // The byte before the return address is inside the call.
  const uintptr_t address = reinterpret_cast<uintptr_t>(return_address) - 1;
  Dl_info module;
  if (dladdr(reinterpret_cast<const void*>(address), &module) == 0 || module.dli_fname == nullptr)
    return "unknown code";
  const auto* header = static_cast<const Elf64_Ehdr*>(module.dli_fbase);
  const bool movable = header->e_type == ET_DYN;  // its debug information is relative to 0
  const uintptr_t offset = movable ? address - reinterpret_cast<uintptr_t>(module.dli_fbase) : address;

  char fallback[32];
  snprintf(fallback, sizeof fallback, "+0x%zx", static_cast<size_t>(offset));
  const std::string unresolved = std::string(module.dli_fname) + fallback;
  const std::string path = module.dli_fname;
  if (path.find('\'') != std::string::npos) return unresolved;
  const std::string command = "addr2line -e '" + path + "' " + fallback + " 2>/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return unresolved;
  char line[4096] = "";
  const bool answered = fgets(line, sizeof line, pipe) != nullptr;
  pclose(pipe);
  std::string place = line;
  while (!place.empty() && (place.back() == '\n' || place.back() == ' ')) place.pop_back();
  const size_t note = place.find(" (discriminator");
  if (note != std::string::npos) place.resize(note);
  return answered && !place.empty() && place.rfind("??", 0) != 0 ? place : unresolved;
}

}  // namespace gpudl::emulator
