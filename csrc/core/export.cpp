#include "core/export.h"

namespace gpudl {

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> split;
  std::string name;
  for (char c : names) {
    if (c == ',') split.push_back(std::exchange(name, {}));
    else if (c != ' ' && c != '\n') name += c;
  }
  if (!name.empty()) split.push_back(name);
  return split;
}

void check_same_order(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  const Array* first = nullptr;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (std::string_view(parameters[i].layout) != "any" || !std::holds_alternative<Array>(arguments[i])) continue;
    const Array& array = std::get<Array>(arguments[i]);
    if (!first) first = &array;
    else if (!same_order(*first, array))
      refuse(parameters[i].name,
             "must lie in memory as the other arguments do, got " + describe(array) + " beside " + describe(*first));
  }
}

}  // namespace gpudl
