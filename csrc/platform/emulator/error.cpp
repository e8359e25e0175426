#include "platform/emulator/error.h"

#include <cstdarg>
#include <cstdio>
#include <string>

#include "platform/emulator/engine.h"

namespace gpudl::emulator {

void fail(const Site& site, const char* format, ...) {
  char message[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);

  std::string text;
  if (site.line != 0) text = std::string(site.file) + ":" + std::to_string(site.line) + ": ";
  text += std::string(site.word) + ": " + message;
  if (engine.running && (current != nullptr || engine.blocks.size() == 1)) {
    const dim3* block = current != nullptr ? &current->block : &engine.blocks[0].index;
    char where[160];
    int written = snprintf(where, sizeof where, " [block (%u,%u,%u)", block->x, block->y, block->z);
    if (current != nullptr)
      written += snprintf(where + written, sizeof where - written, ", thread (%u,%u,%u)", current->index.x,
                          current->index.y, current->index.z);
    snprintf(where + written, sizeof where - written, "]");
    text += where;
  }
  throw Error(text);
}

}  // namespace gpudl::emulator
