// Instance norm with ReLU and residual; see src/kernels/instance_norm.rs.
#include "ops.cuh"

using namespace style_ops;

// A plane's elements from `first` to `end`, element by element to the same threads wherever the plane lies.
template <typename T>
__device__ __forceinline__ Running run(const T* plane, uint64 first, uint64 end, float pivot) {
    constexpr int V = 16 / sizeof(T), PACKS = 16 / V;
    Running own;
    const bool aligned = lockstep::in_packs<T, V>(plane);
    const uint64 step = uint64(blockDim.x) * V;
    for (uint64 i = first + threadIdx.x * V; i < end; i += step * PACKS) {
        float v[PACKS][V], d[PACKS * V];
        int count = 0;
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            const uint64 at = i + k * step;
            const int here = at >= end ? 0 : (end - at < V ? int(end - at) : V);
            read_pack<T, V>(plane + at, here, aligned, v[k]);
            count += here;
        }
#pragma unroll
        for (int k = 0; k < PACKS * V; k++) d[k] = v[k / V][k % V] - pivot;
        own.add(d, count);
    }
    return own;
}

// Over all threads of the block; thread 0 has the result.
__device__ __forceinline__ Moments block_merged(Moments own) {
    __shared__ Moments of_warps[32];
    own = warp_merged(own);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = own;
    __syncthreads();
    if (threadIdx.x >= 32) return own;
    own = {0, 0, 0};
    if (threadIdx.x < blockDim.x / 32) own = of_warps[threadIdx.x];
    return warp_merged(own);
}

// A block a plane.
template <typename T>
__device__ __forceinline__ void whole_plane(const T* x, const float* gamma, const float* beta, const T* residual, T* y,
                                            const PlaneParams& p) {
    __shared__ Affine shared;
    const T* plane = x + blockIdx.x * p.area;
    const float pivot = widened(plane[0]);
    const Moments all = block_merged(run(plane, 0, p.area, pivot).around(pivot));
    const unsigned c = blockIdx.x % p.channels;
    if (threadIdx.x == 0) shared = coefficients<false>(all, gamma[c], beta[c], p.eps);
    __syncthreads();
    constexpr int V = 16 / sizeof(T);
    const Affine a = shared;
    const T* more = residual + blockIdx.x * p.area;
    T* to = y + blockIdx.x * p.area;
    const bool aligned =
        lockstep::in_packs<T, V>(plane) && lockstep::in_packs<T, V>(to) && (!p.add || lockstep::in_packs<T, V>(more));
    for (uint64 i = threadIdx.x * V; i < p.area; i += blockDim.x * V) {
        const int count = p.area - i < V ? int(p.area - i) : V;
        float v[V], r[V];
        read_pack<T, V>(plane + i, count, aligned, v);
#pragma unroll
        for (int k = 0; k < V; k++) v[k] = normalised(v[k], a, p.relu);
        if (p.add) {
            read_pack<T, V>(more + i, count, aligned, r);
#pragma unroll
            for (int k = 0; k < V; k++) v[k] += r[k];
        }
        write_pack<T, V>(to + i, count, aligned, v);
    }
}

// Moments of parts of planes, parts[image][channel][chunk].
template <typename T>
__device__ __forceinline__ void planar_moments(const T* x, double2* parts, const PlaneParams& p) {
    const uint64 plane = blockIdx.x / p.chunks, first = blockIdx.x % p.chunks * p.chunk;
    const uint64 end = first + p.chunk < p.area ? first + p.chunk : p.area;
    const T* from = x + plane * p.area;
    const float pivot = widened(from[first]);
    const Moments all = block_merged(run(from, first, end, pivot).around(pivot));
    if (threadIdx.x == 0) parts[blockIdx.x] = {all.mean, all.m2};
}

// The same for channels last: V channels a thread, all of whose pixels lie `lanes` apart.
template <typename T, int V>
__device__ __forceinline__ void interleaved_moments(const T* x, double2* parts, const PlaneParams& p) {
    constexpr int BATCH = 8;
    __shared__ Moments of_threads[256];
    const int threads = blockDim.x;
    const unsigned slots = p.channels / V, columns = (slots + threads - 1) / threads;
    const unsigned column = blockIdx.x % columns, here = min(slots - column * threads, unsigned(threads));
    const uint64 image = blockIdx.x / columns / p.chunks, chunk = blockIdx.x / columns % p.chunks;
    const uint64 first = chunk * p.chunk, end = first + p.chunk < p.area ? first + p.chunk : p.area;
    const unsigned lanes = threads / here, lane = threadIdx.x / here;
    const unsigned channel = (column * threads + threadIdx.x % here) * V;
    const T* from = x + image * p.area * p.channels + channel;
    const bool aligned = lockstep::in_packs<T, V>(from);
    Running own[V];
    float pivot[V];
    if (lane < lanes) {
        read_pack<T, V>(from + first * p.channels, V, aligned, pivot);
        for (uint64 i = first + lane; i < end; i += BATCH * lanes) {
            float v[BATCH][V];
            int count = 0;
#pragma unroll
            for (int k = 0; k < BATCH; k++) {
                const uint64 at = i + k * lanes;
                read_pack<T, V>(from + at * p.channels, at < end ? V : 0, aligned, v[k]);
                count += at < end;
            }
#pragma unroll
            for (int c = 0; c < V; c++) {
                float d[BATCH];
#pragma unroll
                for (int k = 0; k < BATCH; k++) d[k] = v[k][c] - pivot[c];
                own[c].add(d, count);
            }
        }
    }
#pragma unroll
    for (int c = 0; c < V; c++) {
        __syncthreads();
        if (lane < lanes) of_threads[threadIdx.x] = own[c].around(pivot[c]);
        for (unsigned half = 128; half > 0; half /= 2) {
            __syncthreads();
            if (lane < half && lane + half < lanes) {
                of_threads[threadIdx.x] = merged(of_threads[threadIdx.x], of_threads[threadIdx.x + half * here]);
            }
        }
        if (lane == 0) {
            const Moments all = of_threads[threadIdx.x];
            parts[(image * p.channels + channel + c) * p.chunks + chunk] = {all.mean, all.m2};
        }
    }
}

template <typename T>
__device__ __forceinline__ void moments(const T* x, double2* parts, const PlaneParams& p) {
    if (!p.nhwc) {
        planar_moments(x, parts, p);
    } else if (p.channels % 4 == 0) {
        interleaved_moments<T, 4>(x, parts, p);
    } else {
        interleaved_moments<T, 1>(x, parts, p);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    instance_norm_merge(const float* gamma, const float* beta, double2* work, PlaneParams p) {
    const uint64 planes = uint64(p.batch) * p.channels;
    Affine* affine = coefficients_in(work, planes * p.chunks);
    for (uint64 i = lockstep::first() / 32; i < planes; i += lockstep::step() / 32) {
        const unsigned c = i % p.channels;
        merge_plane<false>(work + i * p.chunks, p.chunks, gamma[c], beta[c], p.eps, affine + i, [&](int k) {
            const uint64 first = k * p.chunk;
            return first + p.chunk < p.area ? p.chunk : p.area - first;
        });
    }
}

#define INSTANCE_NORM(T, NAME)                                                                                       \
    extern "C" __global__ void __launch_bounds__(1024)                                                               \
        instance_norm_plane_##NAME(const T* x, const float* gamma, const float* beta, const T* residual, T* y,       \
                                   PlaneParams p) {                                                                  \
        whole_plane<T>(x, gamma, beta, residual, y, p);                                                              \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) instance_norm_moments_##NAME(const T* x, double2* parts,       \
                                                                                   PlaneParams p) {                  \
        moments<T>(x, parts, p);                                                                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) instance_norm_apply_##NAME(                                    \
        const T* x, double2* work, const T* residual, T* y, PlaneParams p) {                                         \
        normalise<T>(x, coefficients_in(work, uint64(p.batch) * p.channels * p.chunks), residual, y, p);             \
    }
INSTANCE_NORM(float, f32)
INSTANCE_NORM(__half, f16)
