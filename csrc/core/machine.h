// Work is split for this GPU on every device, so that all devices add in the same order.
#pragma once

namespace gpudl {

constexpr int MULTIPROCESSORS = 132;  // of an H100

}  // namespace gpudl
