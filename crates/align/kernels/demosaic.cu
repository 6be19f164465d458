// Colours by normalised convolution; see src/kernels/demosaic.rs.
#include "align.cuh"

struct DemosaicParams {
    unsigned height, width, period, radius;
};
LOCKSTEP_PARAMS(DemosaicParams, 16);

extern "C" __global__ void demosaic_u16(const unsigned short* __restrict__ mosaic, const unsigned* __restrict__ colours,
                                        const float* __restrict__ black, const float* __restrict__ scale,
                                        float* __restrict__ rgb, DemosaicParams p) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    const int height = p.height, width = p.width, period = p.period, radius = p.radius;
    if (x >= width || y >= height) return;
    auto binomial = [&](int d) -> float {
        const int n = d < 0 ? -d : d;
        if (radius == 1) return n == 0 ? 2.0f : 1.0f;
        return n == 0 ? 6.0f : n == 1 ? 4.0f : 1.0f;
    };
    float sums[3] = {0, 0, 0}, weights[3] = {0, 0, 0}, own = 0;
    unsigned colour = 0;
    for (int ny = max(y - radius, 0); ny <= min(y + radius, height - 1); ++ny) {
        const unsigned short* row = mosaic + uint64(ny) * width;
        for (int nx = max(x - radius, 0); nx <= min(x + radius, width - 1); ++nx) {
            const int i = ny % period * period + nx % period;
            const float v = (float(row[nx]) - black[i]) * scale[i];
            const float k = binomial(ny - y) * binomial(nx - x);
            const unsigned c = colours[i];
#pragma unroll
            for (unsigned j = 0; j < 3; ++j) {
                if (c == j) {
                    sums[j] += k * v;
                    weights[j] += k;
                }
            }
            if (ny == y && nx == x) {
                own = v;
                colour = c;
            }
        }
    }
    const uint64 area = uint64(height) * width, at = uint64(y) * width + x;
#pragma unroll
    for (unsigned j = 0; j < 3; ++j) {
        rgb[j * area + at] = j == colour ? own : weights[j] > 0.0f ? sums[j] / weights[j] : 0.0f;
    }
}
