"""Converts numbers, lists and arrays of other libraries to arrays on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.core import dtypes
from gpudl.core.op import Array
from gpudl.devices.find import Device, MetaArray, cpu, meta
from gpudl.devices.find import device as device_of


def place_of(data: Any) -> Device:
    """The device of an array; the cpu for numbers and lists."""
    if isinstance(data, MetaArray):
        return meta
    if hasattr(data, "__cuda_array_interface__"):
        index = data.device.id if hasattr(data, "device") else 0
        return device_of(f"cuda:{index}")
    return cpu


def as_array(data: Any, dtype: Any, device: Device) -> Array:
    """The data as an array on the device. Without `dtype`, the rules of tensor() apply."""
    if isinstance(data, MetaArray):
        return data
    foreign = not isinstance(data, (np.ndarray, np.generic)) and hasattr(data, "__dlpack__")
    if foreign and not hasattr(data, "__cuda_array_interface__"):
        data = np.from_dlpack(data)
    if not hasattr(data, "shape"):
        try:
            array = np.asarray(data)
        except ValueError:
            array = np.asarray(None)
        if array.dtype == object:
            raise ValueError(
                "tensor: the nested lists are ragged or contain something other than numbers"
            )
        if dtype is None and array.dtype == np.float64:
            array = array.astype(np.float32)
        data = array
    wanted = dtypes.dtype_of(data.dtype if dtype is None else dtype)
    if data.dtype != wanted:
        data = data.astype(wanted)
    return device.asarray(data)
