// Statistics of the layers in f32, whose range no fixed point holds: partial moments of every tile, merged in a fixed order
// by whichever block comes last. See src/kernels/net_layer.rs.
#pragma once
#include "net.cuh"

namespace net {

// Where the statistics of one image (and, if a block of channels is finished alone, of that block) go on their way to the
// coefficients.
struct Statistics {
    Moments* partial;   // [parts][CHANNELS]
    float4* grouped;    // [groups][CHANNELS]: number, mean, sum of squares
    unsigned* tickets;  // [groups + 1], zero before and after
};

// Merges `count` moments of every channel; thread t takes channels 2t and 2t + 1 (of CHANNELS), and of the parts every
// SLICES-th. Sums of squares are taken in f64, in one pass, with many loads under way at once. All threads of the block
// take part; `done(channel, n, mean, m2)` runs once for each channel.
//   work: 5 * THREADS of shared memory; at(i, pair, &a, &b): {number, mean, m2} of part i, for both channels.
template <int CHANNELS, int THREADS, typename At, typename Done>
__device__ __forceinline__ void merge(double* work, int count, At at, Done done) {
    constexpr int PAIRS = CHANNELS / 2, SLICES = THREADS / PAIRS, BATCH = 8;
    static_assert(SLICES >= 1 && THREADS % PAIRS == 0 && THREADS >= CHANNELS, "a thread for every channel");
    double(*sums)[THREADS] = reinterpret_cast<double(*)[THREADS]>(work);
    const int pair = threadIdx.x % PAIRS, slice = threadIdx.x / PAIRS;
    double all[5] = {0, 0, 0, 0, 0};
    for (int first = slice; first < count; first += BATCH * SLICES) {
        float3 a[BATCH], b[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            a[i] = b[i] = make_float3(0, 0, 0);
            if (first + i * SLICES < count) at(first + i * SLICES, pair, a[i], b[i]);
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            all[0] += a[i].x;
            all[1] += double(a[i].x) * a[i].y;
            all[2] += a[i].z + double(a[i].x) * a[i].y * a[i].y;
            all[3] += double(b[i].x) * b[i].y;
            all[4] += b[i].z + double(b[i].x) * b[i].y * b[i].y;
        }
    }
#pragma unroll
    for (int k = 0; k < 5; k++) sums[k][threadIdx.x] = all[k];
    __syncthreads();
    if (threadIdx.x < CHANNELS) {
        const int second = threadIdx.x % 2;
        double n = 0, sum = 0, square = 0;
#pragma unroll
        for (int i = 0; i < SLICES; i++) {
            const int from = i * PAIRS + threadIdx.x / 2;
            n += sums[0][from], sum += sums[1 + 2 * second][from], square += sums[2 + 2 * second][from];
        }
        const double mean = sum / n;
        done(int(threadIdx.x), n, mean, fmax(square - sum * mean, 0.0));
    }
}

// Whether this block is the last of `all` that call it with one ticket; the last one resets it. What every block wrote
// before is visible to it.
__device__ __forceinline__ bool is_last(unsigned* ticket, unsigned all) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(ticket, 1) == all - 1;
        if (last) *ticket = 0;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// Lets the last block of a group, and then the last group, merge the partial moments that the blocks have written; always
// in the order of the parts, whoever comes last. `done` as in `merge`.
//   part: of this block, one of `parts`; `beside` blocks share it (by channels); size(part): elements of a part.
template <int CHANNELS, int THREADS, typename Size, typename Done>
__device__ __forceinline__ void publish(const LayerParams& p, const Statistics& s, double* work, int part, int parts,
                                        int beside, Size size, Done done) {
    const int group = part / p.group_size;
    const int first = group * p.group_size, end = min(first + p.group_size, parts);
    if (!is_last(&s.tickets[group], unsigned((end - first) * beside))) return;
    const float4* partial = reinterpret_cast<const float4*>(s.partial + int64(first) * CHANNELS);
    const auto tile = [&](int i, int pair, float3& a, float3& b) {
        const float4 two = __ldcg(partial + int64(i) * (CHANNELS / 2) + pair);
        const float k = size(first + i);
        a = make_float3(k, two.x, two.y), b = make_float3(k, two.z, two.w);
    };
    if (p.groups == 1) return merge<CHANNELS, THREADS>(work, end - first, tile, done);
    merge<CHANNELS, THREADS>(work, end - first, tile, [&](int c, double k, double mean, double m2) {
        __stcg(&s.grouped[int64(group) * CHANNELS + c], make_float4(float(k), float(mean), float(m2), 0.0f));
    });
    if (!is_last(&s.tickets[p.groups], unsigned(p.groups))) return;
    const auto both = [&](int i, int pair, float3& a, float3& b) {
        const float4* from = &s.grouped[int64(i) * CHANNELS + 2 * pair];
        const float4 one = __ldcg(from), two = __ldcg(from + 1);
        a = make_float3(one.x, one.y, one.z), b = make_float3(two.x, two.y, two.z);
    };
    merge<CHANNELS, THREADS>(work, p.groups, both, done);
}

}  // namespace net
