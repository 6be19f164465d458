// Opening by the cross of five pixels, 0 outside; see src/kernels/open_cross.rs.
#include "align.cuh"

struct OpenCrossParams {
    unsigned height, width;
};
LOCKSTEP_PARAMS(OpenCrossParams, 8);

constexpr int kDown = 16;    // rows of a thread; twin of DOWN
constexpr int kWide = 5;     // columns that a result depends on

// Both steps at once: the smallest of each cross, then the largest of those. A thread goes down one column, with three
// rows of values and of smallest ones in its registers.
extern "C" __global__ void __launch_bounds__(256)
open_cross_u8(const unsigned char* __restrict__ x, unsigned char* __restrict__ y, OpenCrossParams p) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int first = (blockIdx.y * blockDim.y + threadIdx.y) * kDown;
    const int height = p.height, width = p.width;
    if (c >= width || first >= height) return;
    unsigned values[3][kWide], least[3][3];
    auto fetch = [&](int v, unsigned (&row)[kWide]) {
        const unsigned char* from = x + uint64(v < 0 || v >= height ? 0 : v) * width;
#pragma unroll
        for (int i = 0; i < kWide; ++i) {
            const int u = c + i - kWide / 2;
            row[i] = v >= 0 && v < height && u >= 0 && u < width ? from[u] : 0u;
        }
    };
    // Outside of the picture values are 0, and so is the smallest of every cross there, whose middle is outside.
    auto smallest = [&](const unsigned (&above)[kWide], const unsigned (&own)[kWide], const unsigned (&below)[kWide],
                        unsigned (&out)[3]) {
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            out[i] = min(min(min(own[i], own[i + 1]), own[i + 2]), min(above[i + 1], below[i + 1]));
        }
    };
    unsigned before[kWide];
    fetch(first - 2, before);
    fetch(first - 1, values[0]);
    fetch(first, values[1]);
    fetch(first + 1, values[2]);
    smallest(before, values[0], values[1], least[0]);
    smallest(values[0], values[1], values[2], least[1]);
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
        const int r = first + i;
        if (r >= height) return;
        // Row r + 2 takes the place of r - 1, whose part is done.
        fetch(r + 2, values[i % 3]);
        smallest(values[(i + 1) % 3], values[(i + 2) % 3], values[i % 3], least[(i + 2) % 3]);
        const unsigned (&own)[3] = least[(i + 1) % 3];
        y[uint64(r) * width + c] = max(max(max(own[0], own[1]), own[2]), max(least[i % 3][1], least[(i + 2) % 3][1]));
    }
}
