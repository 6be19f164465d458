"""Compiles one CUDA source to PTX with NVRTC, which needs no C++ compiler.

    nvrtc.py LIBRARY SOURCE OUT FLAG...
"""
import ctypes
import glob
import os
import sys

library, source, out, *flags = sys.argv[1:]
# NVRTC looks for its built-in headers by bare name.
for builtins in glob.glob(os.path.join(os.path.dirname(library), "libnvrtc-builtins.so*")):
    ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(library)
program = ctypes.c_void_p()


def checked(code):
    if code != 0:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        sys.exit(f"{source}: {nvrtc.nvrtcGetErrorString(code).decode()}")


def text(size_of, copy):
    size = ctypes.c_size_t()
    checked(size_of(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    checked(copy(program, buffer))
    return buffer.value


with open(source, "rb") as file:
    checked(nvrtc.nvrtcCreateProgram(ctypes.byref(program), file.read(), source.encode(), 0, None, None))
options = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
result = nvrtc.nvrtcCompileProgram(program, len(flags), options)
sys.stderr.write(text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode())
checked(result)
with open(out, "wb") as file:
    file.write(text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX))
