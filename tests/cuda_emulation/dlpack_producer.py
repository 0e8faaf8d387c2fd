"""An array on the device that speaks DLPack alone, made with ctypes."""

import ctypes

import numpy as np
from emulated import core


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", DELETER),
        ("flags", ctypes.c_uint64), ("tensor", Tensor),
    ]  # fmt: skip


LENT = {}  # what consumers hold, by address
give_back = DELETER(lambda address: LENT.pop(address))

api = ctypes.pythonapi
api.PyCapsule_New.restype, api.PyCapsule_GetPointer.restype = ctypes.py_object, ctypes.c_void_p
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
api.PyCapsule_GetPointer.argtypes = api.PyCapsule_IsValid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def end_of_capsule(capsule):
    """What nobody took goes back."""
    for name in (b"dltensor", b"dltensor_versioned"):
        if api.PyCapsule_IsValid(capsule, name):
            LENT.pop(api.PyCapsule_GetPointer(capsule, name))


class DlpackArray:
    """`array` on the device; strides and offset in elements. `streams`: what consumers asked for."""

    CODES = {"i": 0, "u": 1, "f": 2, "b": 6}

    def __init__(self, array, shape=None, strides=None, offset=0, device=(2, 0), version=None, read_only=False):
        self.memory, self.array = core.to_device(np.ascontiguousarray(array)), array
        self.shape, self.strides, self.offset = shape or array.shape, strides, offset
        self.device, self.version, self.read_only = device, version, read_only
        self.streams = []

    def lent(self):
        """How many capsules somebody reads."""
        return sum(owner is self for owner, *_ in LENT.values())

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        if self.version is None and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(options["stream"])
        managed = Managed() if self.version is None else Versioned(*self.version, flags=int(self.read_only))
        axes, dtype = len(self.shape), self.array.dtype
        shape = (ctypes.c_int64 * axes)(*self.shape)
        strides = self.strides and (ctypes.c_int64 * axes)(*self.strides)
        bits = 16 if dtype.kind == "V" else 8 * dtype.itemsize
        managed.tensor = Tensor(
            self.memory.__cuda_array_interface__["data"][0], *self.device, axes, self.CODES.get(dtype.kind, 4), bits, 1,
            shape, strides or None, self.offset * dtype.itemsize,
        )  # fmt: skip
        address = ctypes.addressof(managed)
        managed.deleter = give_back
        LENT[address] = (self, managed, shape, strides)
        return api.PyCapsule_New(
            address, b"dltensor" if self.version is None else b"dltensor_versioned", end_of_capsule
        )
