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
