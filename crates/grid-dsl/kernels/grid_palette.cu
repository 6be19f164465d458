// Colours of many grids: a warp a grid; see src/kernels/palette.rs.
#include "grid.cuh"

constexpr unsigned kFigures = 12;    // twin of FIGURES

extern "C" __global__ void __launch_bounds__(64)
grid_palette(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
             unsigned* __restrict__ out, unsigned count) {
    __shared__ unsigned memory[kWarps][256];
    unsigned* bins = memory[threadIdx.x / 32];
    const unsigned lane = lane_of();
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < count; n += u64(gridDim.x) * kWarps) {
        const Grid g{reinterpret_cast<const i8*>(cells) + n * kCells, sizes[2 * n], sizes[2 * n + 1]};
        histogram(g, whole(g), bins);
        const unsigned most = extreme_colour(bins, true), least = extreme_colour(bins, false);
        unsigned* figures = out + n * kFigures;
        unsigned colours = 0;
        for (unsigned k = 0; k < 8; ++k) {
            const unsigned present = __ballot_sync(kAll, bins[k * 32 + lane] != 0);
            colours += __popc(present);
            if (lane == 0) figures[4 + k] = present;
        }
        if (lane == 0) {
            figures[0] = g.h * g.w;
            figures[1] = colours;
            figures[2] = most;
            figures[3] = least;
        }
        __syncwarp();
    }
}
