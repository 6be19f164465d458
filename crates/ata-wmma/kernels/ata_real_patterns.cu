// Sums over windows of real patterns; see src/kernels/real_patterns.rs. Sums are f64, rounded once.
#include "ata.cuh"

struct RealParams {
    unsigned frames, channels, n, side, width, height, row, pixel, plane, blocks, tiles;
    u64 frame;
};

// A block a listed pair of block rows and a channel, a thread an element: pixels of the overlap row by row.
extern "C" __global__ void __launch_bounds__(256)
ata_gram_f32(const float* data, const int* corners, const unsigned* list, float* out, RealParams p) {
    const unsigned i = list[2 * blockIdx.x], j = list[2 * blockIdx.x + 1], c = blockIdx.y;
    const unsigned l = 16 * i + threadIdx.x / 16, m = 16 * j + threadIdx.x % 16;
    double sum = 0;
    if (l < p.n && m < p.n) {
        const int side = int(p.side);
        const int down = corners[2 * m] - corners[2 * l], right = corners[2 * m + 1] - corners[2 * l + 1];
        const float* one = data + (u64(l) * p.channels + c) * p.side * p.side;
        const float* two = data + (u64(m) * p.channels + c) * p.side * p.side;
        for (int u = max(down, 0); u < min(side, side + down); ++u) {
            for (int v = max(right, 0); v < min(side, side + right); ++v) {
                sum += double(one[u * side + v]) * double(two[(u - down) * side + v - right]);
            }
        }
    }
    out[(u64(c) * p.blocks + blockIdx.x) * 256 + threadIdx.x] = float(sum);
}

// A block an unknown, a channel and eight frames.
extern "C" __global__ void __launch_bounds__(256)
ata_atb_f32(const float* data, const int* corners, const unsigned char* frames, const float* table, float* out,
            RealParams p) {
    __shared__ double lanes[kGroup][kLanes];
    const unsigned l = blockIdx.x, c = blockIdx.y, first = blockIdx.z * kGroup;
    const unsigned count = min(p.frames - first, kGroup), area = p.side * p.side;
    const float* pattern = data + (u64(l) * p.channels + c) * area;
    const u64 corner = u64(c) * p.plane + u64(corners[2 * l]) * p.row + u64(corners[2 * l + 1]) * p.pixel;
    const unsigned char* window = frames + first * p.frame + corner;
    double sums[kGroup] = {};
    for (unsigned i = threadIdx.x; i < area; i += kLanes) {
        const double v = pattern[i];
        const unsigned char* at = window + u64(i / p.side) * p.row + u64(i % p.side) * p.pixel;
        for (unsigned f = 0; f < kGroup; ++f) {
            if (f < count) sums[f] += v * double(table[c * 256 + at[f * p.frame]]);
        }
    }
    fold(sums, lanes);
    for (unsigned f = 0; f < kGroup; ++f) {
        if (f < count && threadIdx.x == 0) out[(u64(first + f) * p.channels + c) * p.n + l] = float(sums[f]);
    }
}

// A thread a pixel gathers the unknowns of its tile.
extern "C" __global__ void ata_render_f32(const float* data, const int* corners, const unsigned* starts,
                                          const unsigned* members, const float* x, float* out, RealParams p) {
    const unsigned row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    const u64 line = blockIdx.z;
    const unsigned c = blockIdx.z % p.channels, tile = blockIdx.y * p.tiles + blockIdx.x;
    if (row >= p.height || column >= p.width) return;
    float sum = 0;
    for (unsigned i = starts[tile]; i < starts[tile + 1]; ++i) {
        const unsigned l = members[i];
        const unsigned u = row - unsigned(corners[2 * l]), v = column - unsigned(corners[2 * l + 1]);
        // Above and left of the window the differences wrap around.
        if (u < p.side && v < p.side) {
            sum = fmaf(data[((u64(l) * p.channels + c) * p.side + u) * p.side + v], x[line * p.n + l], sum);
        }
    }
    out[(line * p.height + row) * p.width + column] = sum;
}
