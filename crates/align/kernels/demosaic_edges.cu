// Colours of a Bayer mosaic along the smaller difference; see src/kernels/demosaic_edges.rs.
#include "align.cuh"

struct DemosaicEdgesParams {
    unsigned height, width;
};
LOCKSTEP_PARAMS(DemosaicEdgesParams, 8);

extern "C" __global__ void demosaic_edges_u16(const unsigned short* __restrict__ mosaic,
                                              const unsigned* __restrict__ colours, const float* __restrict__ black,
                                              const float* __restrict__ scale, float* __restrict__ rgb,
                                              DemosaicEdgesParams p) {
    const int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    const int height = p.height, width = p.width;
    if (px >= width || py >= height) return;
    // The rim repeats the pixels beside it.
    const int x = min(max(px, 1), width - 2), y = min(max(py, 1), height - 2);
    const unsigned short* row = mosaic + uint64(y) * width + x;
    auto raw = [&](int dy, int dx) -> int { return row[dy * width + dx]; };
    auto at = [&](int dy, int dx) -> unsigned { return (y + dy & 1) * 2 + (x + dx & 1); };
    auto value = [&](int dy, int dx) -> float {
        const unsigned i = at(dy, dx);
        return (float(raw(dy, dx)) - black[i]) * scale[i];
    };
    const float across = (value(0, -1) + value(0, 1)) * 0.5f, along = (value(-1, 0) + value(1, 0)) * 0.5f;
    const float own = value(0, 0);
    const unsigned colour = colours[at(0, 0)];
    float out[3];
    if (colour == 1) {
        const unsigned beside = colours[at(0, 1)];
        out[1] = own;
        out[0] = beside == 0 ? across : along;
        out[2] = beside == 0 ? along : across;
    } else {
        const float wide = float(abs(raw(0, -1) - raw(0, 1))) * scale[at(0, 1)];
        const float tall = float(abs(raw(-1, 0) - raw(1, 0))) * scale[at(1, 0)];
        const float corners = (((value(-1, -1) + value(-1, 1)) + value(1, -1)) + value(1, 1)) * 0.25f;
        out[1] = wide > tall ? along : across;
        out[0] = colour == 0 ? own : corners;
        out[2] = colour == 0 ? corners : own;
    }
    const uint64 area = uint64(height) * width, pixel = uint64(py) * width + px;
#pragma unroll
    for (unsigned j = 0; j < 3; ++j) rgb[j * area + pixel] = out[j];
}
