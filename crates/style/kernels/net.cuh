// What all layers of the style network share: parameters, border rules, statistics of the outputs, and the fold of those
// statistics into the coefficients with which the next layer normalises what it reads. See src/kernels/net_layer.rs.
#pragma once
#include "lockstep.cuh"

namespace net {

using lockstep::int64;

enum Flags : unsigned {
    RELU = 1,   // after the norm of the input
    ADD = 2,    // the input of the residual block is added to the norm of the input
    KEEP = 4,   // the finished input is also written
    ROUND = 8,  // bytes are rounded to the nearest, not truncated
};

// Parameters of a layer; the same for all kinds. Twin of NetParams.
struct LayerParams {
    int h, w;              // of the input
    int ho, wo;            // of the output
    int tiles_x, tiles_y;  // of the output; for upsampling layers, of the input
    int groups;            // of partial statistics
    int group_size;        // partial statistics in a group
    int cin, cout;
    unsigned flags;
    float eps;
};
LOCKSTEP_PARAMS(LayerParams, 48);

// Mirrors an index at both ends without repeating them; what is further out than one mirror image is held at the end.
__device__ __forceinline__ int reflected(int i, int n) {
    i = i < 0 ? -i : i;
    i = i >= n ? 2 * (n - 1) - i : i;
    return min(max(i, 0), n - 1);
}
__device__ __forceinline__ int clamped(int i, int n) { return min(max(i, 0), n - 1); }

// A picture of n rows that is continued by reflection at its end.
__device__ __forceinline__ int continued(int i, int n) { return i < n ? i : 2 * (n - 1) - i; }

// Mean, and sum of squared deviations from it, of some elements of one channel.
struct Moments {
    float mean, m2;
};

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

// Adds the moments of `k` elements to those of n.
__device__ __forceinline__ void append(float& n, float& mean, float& m2, float k, const Moments& m) {
    if (k == 0) return;
    const float d = m.mean - mean, part = k / (n + k);
    mean = fmaf(d, part, mean);
    m2 += fmaf(d * d, n * part, m.m2);
    n += k;
}

// Reads a picture: planes of f32 [n][3][h][w], or bytes [n][h][w][3]; 128 is taken from every value, which the norm behind
// the first layer takes back: sums get smaller, and bytes stay exact in f16.
__device__ __forceinline__ float sample(const float* x, const LayerParams& p, int n, int y, int z, int c) {
    return x[(int64(n * 3 + c) * p.h + y) * p.w + z] - 128.0f;
}
__device__ __forceinline__ float sample(const unsigned char* x, const LayerParams& p, int n, int y, int z, int c) {
    return float(x[((int64(n) * p.h + y) * p.w + z) * 3 + c]) - 128.0f;
}

// Writes one value of the result: planes of f32, or bytes, clamped.
__device__ __forceinline__ void deliver(float* out, const LayerParams& p, int n, int y, int z, int c, float v) {
    out[(int64(n * 3 + c) * p.ho + y) * p.wo + z] = v;
}
__device__ __forceinline__ void deliver(unsigned char* out, const LayerParams& p, int n, int y, int z, int c, float v) {
    v = fminf(fmaxf(v, 0.0f), 255.0f);
    if (p.flags & ROUND) v = roundf(v);
    out[((int64(n) * p.ho + y) * p.wo + z) * 3 + c] = static_cast<unsigned char>(v);
}

}  // namespace net
