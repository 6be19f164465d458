// Connected components of many grids in several modes: a warp a grid and mode; see src/kernels/components.rs.
#include "grid.cuh"

struct ComponentsParams {
    unsigned count, modes, capacity;
    // Four bits a mode.
    unsigned packed;
};
LOCKSTEP_PARAMS(ComponentsParams, 16);

constexpr unsigned kError = 0x80000000u;    // twin of ERROR
constexpr unsigned kEmpty = 2, kIndex = 3;  // places of the classes in ErrClass::ALL

extern "C" __global__ void __launch_bounds__(64)
grid_components(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
                u16* __restrict__ labels, unsigned* __restrict__ counts, unsigned* __restrict__ table,
                ComponentsParams p) {
    __shared__ Scratch memory[kWarps];
    Scratch& s = memory[threadIdx.x / 32];
    const unsigned lane = lane_of();
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.count; n += u64(gridDim.x) * kWarps) {
        const Grid g{reinterpret_cast<const i8*>(cells) + n * kCells, sizes[2 * n], sizes[2 * n + 1]};
        unsigned background = kNone;
        for (unsigned m = 0; m < p.modes; ++m) {
            const unsigned mode = p.packed >> (4 * m) & 15;
            const u64 item = m * u64(p.count) + n;
            unsigned plane = whole(g), count;
            if (mode & kBare) {
                if (background == kNone) {
                    histogram(g, plane, s.bins);
                    background = extreme_colour(s.bins, true);
                }
                if (background != kNone) plane = of_colour(g, plane, int(background) - 128, false);
            }
            if ((mode & kBare) && background == kNone) {
                count = kError | kEmpty;
            } else if (g.h == 0) {
                count = kError | kIndex;
            } else {
                __syncwarp();
                label(g, plane, mode, s);
                count = number(g, plane, s);
            }
            for (unsigned r = 0; r < g.h; ++r) {
                const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
                const bool alive = !(count & kError) && (row >> lane & 1);
                unsigned place = 0xffffu;
                if (alive) {
                    const unsigned root = s.parent[at] & kRoot, size = s.size[root];
                    place = size >> 16;
                    if (leads(s, at, true) && place < p.capacity) {
                        unsigned* out = table + (item * p.capacity + place) * 2;
                        const unsigned columns = s.columns[root];
                        out[0] = unsigned(g.at(r, lane) & 255) | (size & 0xffffu) << 8 | at << 19;
                        out[1] = root / kSide | low(columns) << 8 | s.parent[root] >> 16 << 16 | high(columns) << 24;
                    }
                }
                labels[item * kCells + at] = u16(place);
            }
            if (lane == 0) counts[item] = count;
            __syncwarp();
        }
    }
}
