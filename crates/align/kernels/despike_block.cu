// Hot pixels out, levels through a table, blocks averaged; see src/kernels/despike_block.rs.
#include "align.cuh"

constexpr unsigned kCellsX = 32, kCellsY = 16;    // cells of a block; twins of CELLS
constexpr unsigned kPlanes = 4;
constexpr unsigned kValues = 1 << 16;

struct DespikeParams {
    unsigned height, width, period, block, planes, reach;
};
LOCKSTEP_PARAMS(DespikeParams, 24);

// One pass: a tile of the mosaic with what lies within reach goes to shared memory, 0 where the picture ends, which no
// maximum notices. Behind it lie the neighbours of each position as distances inside of the tile.
extern "C" __global__ void __launch_bounds__(256)
despike_block_u16(const unsigned short* __restrict__ mosaic, const int* __restrict__ offsets,
                  const unsigned* __restrict__ starts, const float* __restrict__ levels,
                  const unsigned* __restrict__ level_of, const unsigned* __restrict__ plane_of,
                  const float* __restrict__ scale, float* __restrict__ proxy, DespikeParams p) {
    extern __shared__ int shared[];
    const unsigned tile_width = kCellsX * p.block + 2 * p.reach, tile_height = kCellsY * p.block + 2 * p.reach;
    const unsigned positions = p.period * p.period, neighbours = starts[positions];
    int* distances = shared;
    unsigned short* tile = reinterpret_cast<unsigned short*>(shared + neighbours);
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    for (unsigned i = thread; i < neighbours; i += threads) {
        distances[i] = offsets[2 * i] * int(tile_width) + offsets[2 * i + 1];
    }
    const int top = int(blockIdx.y * kCellsY * p.block) - int(p.reach);
    const int left = int(blockIdx.x * kCellsX * p.block) - int(p.reach);
    for (unsigned r = threadIdx.y; r < tile_height; r += blockDim.y) {
        const int y = top + int(r);
        const bool in_row = y >= 0 && y < int(p.height);
        const unsigned short* row = mosaic + uint64(in_row ? y : 0) * p.width;
        for (unsigned c = threadIdx.x; c < tile_width; c += blockDim.x) {
            const int x = left + int(c);
            tile[r * tile_width + c] = in_row && x >= 0 && x < int(p.width) ? row[x] : 0;
        }
    }
    __syncthreads();
    const unsigned rows = p.height / p.block, columns = p.width / p.block;
    const unsigned column = blockIdx.x * kCellsX + threadIdx.x;
    if (column >= columns) return;
    for (unsigned cell = threadIdx.y; cell < kCellsY; cell += blockDim.y) {
        const unsigned row = blockIdx.y * kCellsY + cell;
        if (row >= rows) return;
        float sums[kPlanes] = {0, 0, 0, 0};
        for (unsigned i = 0; i < p.block; ++i) {
            const unsigned y = row * p.block + i, line = y % p.period * p.period;
            for (unsigned j = 0; j < p.block; ++j) {
                const unsigned position = line + (column * p.block + j) % p.period;
                const unsigned short* own =
                    tile + (cell * p.block + i + p.reach) * tile_width + threadIdx.x * p.block + j + p.reach;
                unsigned most = 0;
                const unsigned end = starts[position + 1];
                for (unsigned n = starts[position]; n < end; ++n) most = max(most, unsigned(own[distances[n]]));
                const float light = levels[uint64(level_of[position]) * kValues + min(unsigned(*own), most)];
                const unsigned plane = plane_of[position];
#pragma unroll
                for (unsigned k = 0; k < kPlanes; ++k) {
                    if (k == plane) sums[k] += light;
                }
            }
        }
#pragma unroll
        for (unsigned k = 0; k < kPlanes; ++k) {
            if (k < p.planes) proxy[(k * uint64(rows) + row) * columns + column] = sums[k] * scale[k];
        }
    }
}
