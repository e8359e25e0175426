// What Python may set on a device: its stream, its number, the emulator's schedule. Exported as launchers are.
#include "platform/control.h"
#include "core/export.h"

namespace gpudl {
GPUDL_EXPORT(set_stream, stream);
GPUDL_EXPORT(set_device, device);
GPUDL_EXPORT(set_schedule, seed);
GPUDL_EXPORT(set_truncation, on);
}  // namespace gpudl
