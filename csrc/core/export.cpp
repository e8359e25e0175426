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

namespace {

std::string place(int device) { return device == HOST ? "host memory" : "GPU " + std::to_string(device); }

void check_places(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  const int here = current_device();
  for (size_t i = 0; i < parameters.size(); ++i)
    if (const Array* array = std::get_if<Array>(&arguments[i]); array != nullptr && array->device != here)
      refuse(parameters[i].name, "lies in " + place(array->device) + ", but the kernel reads " + place(here) +
                                     "; move it there with .to(device)");
}

void check_overlaps(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Array* written = parameters[i].writable ? std::get_if<Array>(&arguments[i]) : nullptr;
    if (written == nullptr) continue;
    for (size_t j = 0; j < parameters.size(); ++j) {
      const Array* other = i == j ? nullptr : std::get_if<Array>(&arguments[j]);
      if (other != nullptr && overlap(*written, *other))
        refuse(parameters[i].name, "is written by the kernel, but shares memory with " + parameters[j].name +
                                       "; pass a copy of one of them");
    }
  }
}

void check_same_order(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  const Array* first = nullptr;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (std::string_view(parameters[i].layout) != "any" || !std::holds_alternative<Array>(arguments[i])) continue;
    const Array& array = std::get<Array>(arguments[i]);
    if (!first) first = &array;
    else if (!same_order(*first, array))
      refuse(parameters[i].name, "must have the same memory order as the other arguments, got " + describe(array) +
                                     " and " + describe(*first));
  }
}

}  // namespace

std::vector<size_t> find_arguments(const Launcher& launcher, const std::vector<Parameter>& wanted) {
  std::vector<size_t> found;
  for (const Parameter& want : wanted) {
    const auto& all = launcher.parameters;
    const auto at = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return p.name == want.name; });
    if (at == all.end()) throw std::logic_error(launcher.name + " has no argument " + want.name);
    if (std::string_view(at->kind) != want.kind || at->dtype != want.dtype || at->rank != want.rank)
      throw std::logic_error(launcher.name + ": the workspace is computed from another type of " + want.name);
    found.push_back(static_cast<size_t>(at - all.begin()));
  }
  return found;
}

Exported add_launcher(const char* op, const char* direction, const char* algorithm, const char* file, int line,
                      std::vector<Parameter> parameters, decltype(Function::call) launch) {
  constexpr std::string_view ROOT = "csrc/";
  const std::string_view path = file;
  const size_t at = path.rfind(ROOT);
  const std::string name = std::string(op) + "_" + direction + "_" + algorithm;
  launchers().push_back({{name, std::move(parameters), launch},
                         op,
                         direction,
                         algorithm,
                         std::string(at == path.npos ? path : path.substr(at)),
                         line,
                         {},
                         {}});
  return Exported(launchers().back());
}

bool add_function(const char* name, std::vector<Parameter> parameters, decltype(Function::call) call) {
  functions().push_back({name, std::move(parameters), call});
  return true;
}

void check_count(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  if (arguments.size() != parameters.size())
    throw std::invalid_argument("expected " + std::to_string(parameters.size()) + " arguments, got " +
                                std::to_string(arguments.size()));
}

void check_arrays(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
  check_places(parameters, arguments);
  check_overlaps(parameters, arguments);
  check_same_order(parameters, arguments);
}

}  // namespace gpudl
