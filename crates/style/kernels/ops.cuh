// What the operations of this crate share: elements in f32 and f16, statistics, coefficients of a norm.
#pragma once
#include <cuda_fp16.h>

#include "lockstep.cuh"

namespace style_ops {

using lockstep::int64;
using lockstep::Pack;
using lockstep::uint64;

__device__ __forceinline__ float widened(float v) { return v; }
__device__ __forceinline__ float widened(__half v) { return __half2float(v); }

// The nearest element; beyond the range of f16 its largest value, and NaN stays. Twin of `Sample::nearest`.
template <typename T>
__device__ __forceinline__ T nearest(float v);
template <>
__device__ __forceinline__ float nearest<float>(float v) {
    return v;
}
template <>
__device__ __forceinline__ __half nearest<__half>(float v) {
    return __float2half_rn(v > 65504.0f ? 65504.0f : (v < -65504.0f ? -65504.0f : v));
}

// Count, mean and sum of squared deviations from it.
struct Moments {
    double n, mean, m2;
};

// Chan's merge. Equal means stay as they are, so that a constant plane keeps its value and has no deviation.
__device__ __forceinline__ Moments merged(const Moments& a, const Moments& b) {
    if (b.n == 0) return a;
    if (a.n == 0) return b;
    const double n = a.n + b.n, delta = b.mean - a.mean, share = b.n / n;
    return {n, fma(delta, share, a.mean), a.m2 + b.m2 + delta * delta * a.n * share};
}

// Over the lanes of a warp; lane 0 has the result. The tree is the same in every run.
__device__ __forceinline__ Moments warp_merged(Moments m) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const Moments other = {__shfl_down_sync(0xffffffffu, m.n, lanes), __shfl_down_sync(0xffffffffu, m.mean, lanes),
                               __shfl_down_sync(0xffffffffu, m.m2, lanes)};
        m = merged(m, other);
    }
    return m;
}

// What a thread has seen of a plane, as deviations from one of its elements: a common offset costs no digits.
struct Running {
    float n = 0, mean = 0, m2 = 0;

    // The first `count` of these deviations, in two passes over registers, and then Chan's merge.
    template <int N>
    __device__ __forceinline__ void add(const float (&d)[N], int count) {
        if (count <= 0) return;
        float sum = 0, square = 0;
#pragma unroll
        for (int i = 0; i < N; i++) sum += i < count ? d[i] : 0.0f;
        const float own = count == N ? sum * (1.0f / N) : sum / float(count);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float from = i < count ? d[i] - own : 0.0f;
            square = fmaf(from, from, square);
        }
        const float k = float(count), delta = own - mean, share = k / (n + k);
        mean = fmaf(delta, share, mean);
        m2 += fmaf(delta * delta, n * share, square);
        n += k;
    }

    __device__ __forceinline__ Moments around(float pivot) const { return {n, double(pivot) + mean, m2}; }
};

// A norm of one plane: (x - mean) * scale + shift, with the mean's last digits in the shift. Twin of `Coefficients`.
struct Affine {
    float mean, scale, shift, variance;
};

template <bool ROUNDED>
__device__ __forceinline__ Affine coefficients(const Moments& m, float gamma, float beta, float eps) {
    const double variance = fmax(m.m2 / m.n, 0.0);
    double mean = m.mean;
    if (ROUNDED) {
        // Where f16 cannot tell the values apart, all of them are the f16 beside their mean, and the norm is beta.
        const double flat = __half2float(__float2half_rn(float(mean)));
        if (variance <= (flat - mean) * (flat - mean)) mean = flat;
    }
    const float high = float(mean);
    const double scale = double(gamma) / sqrt(variance + double(eps));
    return {high, float(scale), float(double(beta) - (mean - double(high)) * scale), float(variance)};
}

__device__ __forceinline__ float normalised(float x, const Affine& a, bool relu) {
    const float v = fmaf(x - a.mean, a.scale, a.shift);
    return relu ? fmaxf(v, 0.0f) : v;
}

// Working memory: {mean, m2} of so many parts of planes, and behind them the coefficients of all planes.
__device__ __forceinline__ Affine* coefficients_in(double2* work, uint64 parts) {
    static_assert(sizeof(Affine) == sizeof(double2), "one unit");
    return reinterpret_cast<Affine*>(work + parts);
}

// Coefficients of one plane out of the moments of its parts: one warp. `size(i)` is the number of elements of part i.
template <bool ROUNDED, typename Size>
__device__ __forceinline__ void merge_plane(const double2* parts, int count, float gamma, float beta, float eps, Affine* to,
                                            Size size) {
    Moments all = {0, 0, 0};
    for (int i = threadIdx.x % 32; i < count; i += 32) {
        all = merged(all, {double(size(i)), parts[i].x, parts[i].y});
    }
    all = warp_merged(all);
    if (threadIdx.x % 32 == 0) *to = coefficients<ROUNDED>(all, gamma, beta, eps);
}

// N elements of which `count` exist; as one access where the address allows it. Others are 0.
template <typename T, int N>
__device__ __forceinline__ void read_pack(const T* from, int count, bool aligned, float (&to)[N]) {
    if (aligned && count >= N) {
        const Pack<T, N> pack = lockstep::load<T, N>(from);
#pragma unroll
        for (int i = 0; i < N; i++) to[i] = widened(pack.at[i]);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) to[i] = i < count ? widened(from[i]) : 0.0f;
    }
}

template <typename T, int N>
__device__ __forceinline__ void write_pack(T* to, int count, bool aligned, const float (&from)[N]) {
    if (aligned && count >= N) {
        Pack<T, N> pack;
#pragma unroll
        for (int i = 0; i < N; i++) pack.at[i] = nearest<T>(from[i]);
        lockstep::store<T, N>(to, pack);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (i < count) to[i] = nearest<T>(from[i]);
    }
}

// A tensor of planes that is normalised in place or into another one.
struct PlaneParams {
    uint64 area;                // pixels of a plane
    uint64 chunk;               // pixels of a part of the statistics
    unsigned batch, channels;
    unsigned chunks;            // parts of a plane
    unsigned nhwc, relu, add;   // channels last; ReLU; whether a residual is added
    float eps;
    unsigned pad;
};
LOCKSTEP_PARAMS(PlaneParams, 48);

// Pieces of work of `normalise`, each for a block.
constexpr int kPiece = 8192;
__device__ __forceinline__ uint64 pieces(const PlaneParams& p, int threads, int pack) {
    if (!p.nhwc) return uint64(p.batch) * p.channels * ((p.area + kPiece - 1) / kPiece);
    const unsigned slots = p.channels / pack, pixels = max(1u, kPiece / p.channels);
    return p.batch * ((p.area + pixels - 1) / pixels) * ((slots + threads - 1) / threads);
}

// y = norm(x) [ReLU] [+ residual], piece by piece; x may be y.
template <typename T, int V>
__device__ __forceinline__ void normalise_packs(const T* x, const Affine* affine, const T* residual, T* y,
                                                const PlaneParams& p) {
    const int threads = blockDim.x;
    const uint64 count = pieces(p, threads, V);
    const bool relu = p.relu;
    const auto one = [&](uint64 at, int n, bool aligned, const Affine(&a)[V]) {
        float v[V], r[V];
        read_pack<T, V>(x + at, n, aligned, v);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = normalised(v[i], a[i], relu);
        if (p.add) {
            read_pack<T, V>(residual + at, n, aligned, r);
#pragma unroll
            for (int i = 0; i < V; i++) v[i] += r[i];
        }
        write_pack<T, V>(y + at, n, aligned, v);
    };
    const auto in_packs = [&](uint64 at) {
        return lockstep::in_packs<T, V>(x + at) && lockstep::in_packs<T, V>(y + at) &&
               (!p.add || lockstep::in_packs<T, V>(residual + at));
    };
    for (uint64 piece = blockIdx.x; piece < count; piece += gridDim.x) {
        if (!p.nhwc) {
            const uint64 of_plane = (p.area + kPiece - 1) / kPiece, plane = piece / of_plane;
            const uint64 start = plane * p.area, first = piece % of_plane * kPiece;
            const uint64 end = first + kPiece < p.area ? first + kPiece : p.area;
            Affine a[V];
#pragma unroll
            for (int i = 0; i < V; i++) a[i] = affine[plane];
            const bool aligned = in_packs(start);
            for (uint64 i = first + threadIdx.x * V; i < end; i += threads * V) {
                one(start + i, end - i < V ? int(end - i) : V, aligned, a);
            }
        } else {
            const unsigned slots = p.channels / V, pixels = max(1u, kPiece / p.channels);
            const unsigned columns = (slots + threads - 1) / threads;
            const uint64 rows = (p.area + pixels - 1) / pixels;
            const unsigned column = piece % columns, here = min(slots - column * threads, unsigned(threads));
            const uint64 image = piece / columns / rows, first = piece / columns % rows * pixels;
            const uint64 end = first + pixels < p.area ? first + pixels : p.area;
            const unsigned lanes = threads / here, lane = threadIdx.x / here;
            if (lane >= lanes) continue;
            const unsigned channel = (column * threads + threadIdx.x % here) * V;
            Affine a[V];
#pragma unroll
            for (int i = 0; i < V; i++) a[i] = affine[image * p.channels + channel + i];
            const bool aligned = in_packs(channel);
            for (uint64 i = first + lane; i < end; i += lanes) {
                one((image * p.area + i) * p.channels + channel, V, aligned, a);
            }
        }
    }
}

template <typename T>
__device__ __forceinline__ void normalise(const T* x, const Affine* affine, const T* residual, T* y,
                                          const PlaneParams& p) {
    constexpr int V = 16 / sizeof(T);
    if (!p.nhwc || p.channels % V == 0) {
        normalise_packs<T, V>(x, affine, residual, y, p);
    } else {
        normalise_packs<T, 1>(x, affine, residual, y, p);
    }
}

}  // namespace style_ops
