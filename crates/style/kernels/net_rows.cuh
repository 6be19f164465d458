// Layers on some rows of an image that is nowhere whole in the device's memory. See src/kernels/net_rows.rs.
#pragma once
#include "net.cuh"

namespace net {

// Which tiles of the whole image's grid the launch makes, and where the rows at hand begin. Twin of RowsParams.
struct RowsParams {
    int first_tile;
    int x_row, y_row;  // of the input (and what is added to it); of the output (and the input that is kept)
    int unused;
};
LOCKSTEP_PARAMS(RowsParams, 16);

// A pixel of a picture that comes and goes in rows.
struct Pixel {
    float value[3];
};
__device__ __forceinline__ float sample(const Pixel* x, const LayerParams& p, int n, int y, int z, int c) {
    return x[(int64(n) * p.h + y) * p.w + z].value[c] - 128.0f;
}
__device__ __forceinline__ void deliver(Pixel* out, const LayerParams& p, int n, int y, int z, int c, float v) {
    out[(int64(n) * p.ho + y) * p.wo + z].value[c] = v;
}

// Where row 0 would be, if the rows from `row` on begin at `at`. Null stays what nobody touches.
template <typename T>
__device__ __forceinline__ T* beginning(T* at, int row, int width, int channels) {
    return at - int64(row) * width * channels;
}

}  // namespace net
