// Hot pixels out, noise made uniform, blocks averaged; see src/kernels/despike_block.rs.
#include "align.cuh"

constexpr unsigned kCellsX = 32, kCellsY = 16;    // cells of a block; twins of CELLS
constexpr unsigned kPlanes = 4;
constexpr unsigned kPositions = 4;

struct DespikeParams {
    unsigned height, width, period, block, planes, reach;
};
LOCKSTEP_PARAMS(DespikeParams, 24);

struct BayerParams {
    unsigned height, width, planes, packed;
    float black[kPositions], inverse[kPositions], scale, reserved;
};
LOCKSTEP_PARAMS(BayerParams, 56);

// u(v): the twin of `light` in src/kernels/despike_block.rs.
__device__ __forceinline__ float light_of(float v, float black, float inverse) {
    return root_of_normal(fmaxf(v - black, 0.0f) * inverse + 0.001f);
}

// Any pattern. One pass: a tile of the mosaic with what lies within reach goes to shared memory, 0 where the picture
// ends, which no maximum notices. Behind it lie the neighbours of each position as distances inside of the tile.
extern "C" __global__ void __launch_bounds__(256)
despike_block_u16(const unsigned short* __restrict__ mosaic, const int* __restrict__ offsets,
                  const unsigned* __restrict__ starts, const float2* __restrict__ levels,
                  const unsigned* __restrict__ plane_of, const float* __restrict__ scale, float* __restrict__ proxy,
                  DespikeParams p) {
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
#pragma unroll 4
                for (unsigned n = starts[position]; n < end; ++n) most = max(most, unsigned(own[distances[n]]));
                const float2 level = levels[position];
                const float light = light_of(float(min(unsigned(*own), most)), level.x, level.y);
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

// ---- Red, green, green, blue with eight neighbours each: two steps away in every direction for red and blue; one step
// ---- diagonally and two along rows and columns for green.

constexpr unsigned kStrip = 8;             // columns of a thread; twin of STRIP
constexpr unsigned kReach = 2;
constexpr unsigned kWide = kStrip + 2 * kReach;
constexpr unsigned kWindow = 6;            // rows that a row of cells needs
constexpr unsigned kTurn = kWindow / 2;    // rows of cells until a row of the window is in its old place
constexpr unsigned kDown = 4 * kTurn;      // rows of cells of a thread; twin of DOWN
// Values are kept as floats of 2^23 + v: they compare like integers, and lose 2^23 by a subtraction without rounding.
constexpr unsigned kFloat = 0x4b000000u;

// Twelve values of a row, as they come from memory: two a word.
struct Row {
    unsigned words[kWide / 2];
    bool inside;
};

template <bool PACKED>
__device__ __forceinline__ Row fetch(const unsigned short* __restrict__ mosaic, int y, unsigned x,
                                     const BayerParams& p) {
    Row out;
    out.inside = y >= 0 && y < int(p.height);
    const unsigned short* row = mosaic + uint64(out.inside ? y : 0) * p.width;
    if (PACKED) {
        const unsigned* words = reinterpret_cast<const unsigned*>(row + x);
        const uint4 own = *reinterpret_cast<const uint4*>(words);
        out.words[0] = words[x == 0 ? 0 : -1];
        out.words[1] = own.x;
        out.words[2] = own.y;
        out.words[3] = own.z;
        out.words[4] = own.w;
        out.words[5] = words[x + kStrip == p.width ? 0 : int(kStrip / 2)];
    } else {
#pragma unroll
        for (unsigned i = 0; i < kWide / 2; ++i) {
            // Widths are even: both or neither.
            const int at = int(x + 2 * i) - int(kReach);
            const bool in_row = at >= 0 && at < int(p.width);
            out.words[i] = in_row ? row[at] | unsigned(row[at + 1]) << 16 : 0;
        }
    }
    return out;
}

// Outside of the picture all values are 0.
__device__ __forceinline__ void unpack(const Row& row, bool first, bool last, unsigned (&v)[kWide]) {
#pragma unroll
    for (unsigned i = 0; i < kWide / 2; ++i) {
        const bool inside = row.inside && !(i == 0 && first) && !(i + 1 == kWide / 2 && last);
        v[2 * i] = __byte_perm(row.words[i], kFloat, inside ? 0x7610 : 0x7644);
        v[2 * i + 1] = __byte_perm(row.words[i], kFloat, inside ? 0x7632 : 0x7644);
    }
}

__device__ __forceinline__ unsigned most_of(unsigned a, unsigned b, unsigned c) { return max(max(a, b), c); }

template <bool PACKED>
__device__ __forceinline__ void despike_strip(const unsigned short* __restrict__ mosaic, float* __restrict__ proxy,
                                              const BayerParams& p) {
    const unsigned strip = blockIdx.x * blockDim.x + threadIdx.x, x = strip * kStrip;
    const unsigned top = (blockIdx.y * blockDim.y + threadIdx.y) * kDown;
    const unsigned rows = p.height / 2, columns = p.width / 2;
    if (x >= p.width || top >= rows) return;
    const bool first = x == 0, last = x + kStrip >= p.width;
    const int y = int(2 * top);
    unsigned window[kWindow][kWide];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        unpack(fetch<PACKED>(mosaic, y - 2 + int(i), x, p), first, PACKED && last, window[i]);
    }
    Row next[2] = {fetch<PACKED>(mosaic, y + 2, x, p), fetch<PACKED>(mosaic, y + 3, x, p)};
    for (unsigned done = 0; done < kDown; done += kTurn) {
#pragma unroll
        for (unsigned s = 0; s < kTurn; ++s) {
            const unsigned row = top + done + s;
            if (row >= rows) return;
            unsigned (&a)[kWide] = window[(2 * s) % kWindow], (&b)[kWide] = window[(2 * s + 1) % kWindow];
            unsigned (&c)[kWide] = window[(2 * s + 2) % kWindow], (&d)[kWide] = window[(2 * s + 3) % kWindow];
            unsigned (&e)[kWide] = window[(2 * s + 4) % kWindow], (&f)[kWide] = window[(2 * s + 5) % kWindow];
            unpack(next[0], first, PACKED && last, e);
            unpack(next[1], first, PACKED && last, f);
            next[0] = fetch<PACKED>(mosaic, int(2 * row) + 4, x, p);
            next[1] = fetch<PACKED>(mosaic, int(2 * row) + 5, x, p);
            float out[kPositions][kStrip / 2];
#pragma unroll
            for (unsigned i = 0; i < kStrip / 2; ++i) {
                const unsigned g = 2 * i + kReach, h = g + 1;
                const unsigned red = most_of(max(a[g], e[g]), most_of(a[g - 2], c[g - 2], e[g - 2]),
                                             most_of(a[g + 2], c[g + 2], e[g + 2]));
                const unsigned right = most_of(max(a[h], e[h]), max(c[h - 2], c[h + 2]),
                                               max(max(b[h - 1], d[h - 1]), max(b[h + 1], d[h + 1])));
                const unsigned left = most_of(max(b[g], f[g]), max(d[g - 2], d[g + 2]),
                                              max(max(c[g - 1], e[g - 1]), max(c[g + 1], e[g + 1])));
                const unsigned blue = most_of(max(b[h], f[h]), most_of(b[h - 2], d[h - 2], f[h - 2]),
                                              most_of(b[h + 2], d[h + 2], f[h + 2]));
                const unsigned least[kPositions] = {min(c[g], red), min(c[h], right), min(d[g], left), min(d[h], blue)};
#pragma unroll
                for (unsigned k = 0; k < kPositions; ++k) {
                    out[k][i] = light_of(__uint_as_float(least[k]) - 8388608.0f, p.black[k], p.inverse[k]);
                }
            }
            const unsigned planes = p.planes == 1 ? 1 : kPositions;
            if (planes == 1) {
#pragma unroll
                for (unsigned i = 0; i < kStrip / 2; ++i) {
                    out[0][i] = (out[0][i] + out[1][i] + out[2][i] + out[3][i]) * p.scale;
                }
            }
#pragma unroll
            for (unsigned k = 0; k < kPositions; ++k) {
                if (k >= planes) break;
                float* to = proxy + (k * uint64(rows) + row) * columns + x / 2;
                if (PACKED) {
                    *reinterpret_cast<float4*>(to) = make_float4(out[k][0], out[k][1], out[k][2], out[k][3]);
                } else {
#pragma unroll
                    for (unsigned i = 0; i < kStrip / 2; ++i) {
                        if (x / 2 + i < columns) to[i] = out[k][i];
                    }
                }
            }
        }
    }
}

// A thread goes down eight columns with a window of six rows in its registers. `packed`: rows are read and written 16
// bytes at a time.
extern "C" __global__ void __launch_bounds__(128)
despike_bayer_u16(const unsigned short* __restrict__ mosaic, float* __restrict__ proxy, BayerParams p) {
    if (p.packed) {
        despike_strip<true>(mosaic, proxy, p);
    } else {
        despike_strip<false>(mosaic, proxy, p);
    }
}
