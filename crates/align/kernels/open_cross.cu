// Opening by the cross of five pixels, 0 outside; see src/kernels/open_cross.rs.
#include "align.cuh"

struct OpenCrossParams {
    unsigned height, width;
};
LOCKSTEP_PARAMS(OpenCrossParams, 8);

// Both steps at once: the smallest of each cross, then the largest of those.
extern "C" __global__ void open_cross_u8(const unsigned char* __restrict__ x, unsigned char* __restrict__ y,
                                         OpenCrossParams p) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    const int height = p.height, width = p.width;
    if (c >= width || r >= height) return;
    auto at = [&](int v, int u) -> unsigned {
        return v >= 0 && u >= 0 && v < height && u < width ? x[uint64(v) * width + u] : 0u;
    };
    auto least = [&](int v, int u) -> unsigned {
        if (v < 0 || u < 0 || v >= height || u >= width) return 0u;
        return min(min(min(at(v, u), at(v - 1, u)), at(v + 1, u)), min(at(v, u - 1), at(v, u + 1)));
    };
    const unsigned across = max(least(r, c - 1), least(r, c + 1));
    y[uint64(r) * width + c] = max(max(least(r, c), across), max(least(r - 1, c), least(r + 1, c)));
}
