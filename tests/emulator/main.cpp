#include <cstring>

#include "harness.h"

int main(int count, char** arguments) {
  if (count < 2) {
    for (const harness::Case& known : harness::cases()) std::puts(known.name);
    return 0;
  }
  for (const harness::Case& known : harness::cases()) {
    if (std::strcmp(known.name, arguments[1]) != 0) continue;
    try {
      known.run();
      std::puts("ok");
      return 0;
    } catch (const std::exception& error) {
      std::puts(error.what());
      return 1;
    }
  }
  std::puts("no such case");
  return 2;
}
