// The GPU for which work is cut into parts, whichever one runs it: then every device adds in the same order.
#pragma once

namespace gpudl {

constexpr int MULTIPROCESSORS = 132;  // of an H100

}  // namespace gpudl
