// Exact sums of patterns times frames: a block an unknown, a channel and eight frames; see src/kernels/atb_u8.rs.
#include "ata.cuh"

struct AtbParams {
    unsigned frames, channels, n, side, row, pixel, plane, table;
    u64 frame;
};

constexpr unsigned kThreads = 128;

extern "C" __global__ void __launch_bounds__(128)
ata_atb_u8(const unsigned char* __restrict__ data, const int* __restrict__ corners,
           const unsigned char* __restrict__ frames, const u16* __restrict__ table, u64* __restrict__ out,
           AtbParams p) {
    __shared__ u64 warps[kThreads / 32][kGroup];
    const unsigned l = blockIdx.x, c = blockIdx.y, first = blockIdx.z * kGroup;
    const unsigned count = p.frames - first < kGroup ? p.frames - first : kGroup;
    const unsigned area = p.side * p.side;
    const unsigned char* pattern = data + (u64(l) * p.channels + c) * area;
    const u64 corner = u64(c) * p.plane + u64(corners[2 * l]) * p.row + u64(corners[2 * l + 1]) * p.pixel;
    const unsigned char* window = frames + first * p.frame + corner;
    u64 sums[kGroup] = {};
    const bool words = p.pixel == 1 && !p.table && p.side % 4 == 0 && p.row % 4 == 0 && p.frame % 4 == 0 &&
                       lockstep::in_packs<unsigned char, 4>(window);
    if (words) {
        // Four pixels a load; a lane's sums stay below 2^32, as the sum of the whole window does.
        unsigned narrow[kGroup] = {};
        for (unsigned i = threadIdx.x * 4; i < area; i += kThreads * 4) {
            const unsigned v = *reinterpret_cast<const unsigned*>(pattern + i);
            const unsigned char* at = window + i / p.side * p.row + i % p.side;
            for (unsigned f = 0; f < kGroup; ++f) {
                if (f < count) narrow[f] = __dp4a(v, *reinterpret_cast<const unsigned*>(at + f * p.frame), narrow[f]);
            }
        }
        for (unsigned f = 0; f < kGroup; ++f) sums[f] = narrow[f];
    } else {
        for (unsigned i = threadIdx.x; i < area; i += kThreads) {
            const unsigned v = pattern[i];
            const unsigned char* at = window + u64(i / p.side) * p.row + i % p.side * p.pixel;
            for (unsigned f = 0; f < kGroup; ++f) {
                if (f >= count) break;
                const unsigned byte = at[f * p.frame];
                sums[f] += u64(v) * (p.table ? table[c * 256 + byte] : byte);
            }
        }
    }
    for (unsigned f = 0; f < kGroup; ++f) {
        const u64 sum = lockstep::warp_sum(sums[f]);
        if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32][f] = sum;
    }
    __syncthreads();
    if (threadIdx.x < count) {
        u64 sum = 0;
        for (unsigned w = 0; w < kThreads / 32; ++w) sum += warps[w][threadIdx.x];
        out[(u64(first + threadIdx.x) * p.channels + c) * p.n + l] = sum;
    }
}

struct StagedParams {
    unsigned frames, channels, n, side, width, height, tiles, pitch;
};

constexpr unsigned kUnderWay = 12;

// A lane's words of a pattern of 64 x 64: four rows of eight words at a time.
__device__ __forceinline__ void fetch_pattern(unsigned (&to)[32], const unsigned* __restrict__ from, unsigned lane) {
#pragma unroll
    for (unsigned e = 0; e < 32; ++e) to[e] = __ldg(from + (e / 2 * 4 + lane / 8) * 16 + e % 2 * 8 + lane % 8);
}

// The same with the pixels of all windows that begin in a tile of 32 x 32 in shared memory: [8 frames, rows, pitch words]. A
// warp an unknown; four rows of eight words at a time lie in different banks, as the pitch is 8 modulo 16.
extern "C" __global__ void __launch_bounds__(256, 3)
ata_atb_u8_staged(const unsigned char* __restrict__ data, const int* __restrict__ corners,
                  const unsigned* __restrict__ starts, const unsigned* __restrict__ members,
                  const unsigned char* __restrict__ frames, u64* __restrict__ out, StagedParams p) {
    extern __shared__ __align__(16) unsigned pixels[];
    const unsigned begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    if (begin == end) return;
    const unsigned c = blockIdx.y, first = blockIdx.z * kGroup, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned count = p.frames - first < kGroup ? p.frames - first : kGroup;
    const unsigned top = blockIdx.x / p.tiles * 32, left = blockIdx.x % p.tiles * 32;
    const unsigned rows = 31 + p.side, plane = rows * p.pitch;
    const u64 area = u64(p.width) * p.height;
    // Windows of 64 pixels: a lane's share of the first pattern is under way while the pixels come.
    const unsigned across = p.side / 4;
    const unsigned* patterns = reinterpret_cast<const unsigned*>(data);
    auto pattern_of = [&](unsigned l) { return patterns + (u64(l) * p.channels + c) * p.side * across; };
    const bool is_usual = p.side == 64;
    unsigned share[32];
    if (is_usual && begin + warp < end) fetch_pattern(share, pattern_of(members[begin + warp]), lane);
    // A warp a row, twelve rows under way; widths are multiples of four. What lies outside of the picture is read by no
    // window.
    const unsigned words = min(p.pitch, (p.width - left) / 4), visible = min(rows, p.height - top);
    for (unsigned f = 0; f < count; ++f) {
        const u64 from = (u64(first + f) * p.channels + c) * area + u64(top) * p.width + left;
        for (unsigned start = warp; start < visible; start += 8 * kUnderWay) {
            for (unsigned k = lane; k < words; k += 32) {
                unsigned values[kUnderWay];
#pragma unroll
                for (unsigned e = 0; e < kUnderWay; ++e) {
                    const unsigned row = start + 8 * e;
                    values[e] = 0;
                    if (row < visible) {
                        values[e] = reinterpret_cast<const unsigned*>(frames + from + u64(row) * p.width)[k];
                    }
                }
#pragma unroll
                for (unsigned e = 0; e < kUnderWay; ++e) {
                    const unsigned row = start + 8 * e;
                    if (row < visible) pixels[f * plane + row * p.pitch + k] = values[e];
                }
            }
        }
    }
    __syncthreads();
    for (unsigned i = begin + warp; i < end; i += 8) {
        const unsigned l = members[i];
        const unsigned down = corners[2 * l] - top, right = corners[2 * l + 1] - left, shift = right % 4 * 8;
        const unsigned* pattern = pattern_of(l);
        unsigned sums[kGroup] = {};
        if (is_usual) {
            const unsigned* at = pixels + (down + lane / 8) * p.pitch + right / 4 + lane % 8;
            for (unsigned f = 0; f < count; ++f) {
                unsigned sum = 0;
#pragma unroll
                for (unsigned e = 0; e < 32; ++e) {
                    const unsigned* word = at + f * plane + e / 2 * 4 * p.pitch + e % 2 * 8;
                    // Whole words need no neighbour, and the last of a row has none.
                    const unsigned next = shift == 0 ? 0 : word[1];
                    sum = __dp4a(share[e], __funnelshift_r(word[0], next, shift), sum);
                }
                sum = lockstep::warp_sum(sum);
                if (lane == 0) out[(u64(first + f) * p.channels + c) * p.n + l] = sum;
            }
            if (i + 8 < end) fetch_pattern(share, pattern_of(members[i + 8]), lane);
            continue;
        }
        for (unsigned u = lane / 8; u < p.side; u += 4) {
            const unsigned* at = pixels + (down + u) * p.pitch + right / 4;
            for (unsigned k = lane % 8; k < across; k += 8) {
                const unsigned v = pattern[u * across + k];
                for (unsigned f = 0; f < kGroup; ++f) {
                    if (f >= count) break;
                    unsigned word = at[f * plane + k];
                    if (shift != 0) word = __funnelshift_r(word, at[f * plane + k + 1], shift);
                    sums[f] = __dp4a(v, word, sums[f]);
                }
            }
        }
        for (unsigned f = 0; f < count; ++f) {
            const unsigned sum = lockstep::warp_sum(sums[f]);
            if (lane == 0) out[(u64(first + f) * p.channels + c) * p.n + l] = sum;
        }
    }
}
