// Settings that Python may change: stream, device, the emulator's schedule and truncation.
#include "platform/control.h"
#include "core/export.h"

namespace gpudl {
GPUDL_FUNCTION(set_stream, stream);
GPUDL_FUNCTION(set_device, device);
GPUDL_FUNCTION(set_schedule, seed);
GPUDL_FUNCTION(set_truncation, on);
}  // namespace gpudl
