// lockstep: arch = compute_80
// Convolution, instance norm and ReLU; see src/kernels/fused_conv_instancenorm.rs.
#include <cooperative_groups.h>

#include "conv.cuh"

using namespace style_ops;

// A tile of raw values and its moments.
template <typename T>
__device__ __forceinline__ void raw_tile(const T* x, const T* weights, T* y, double2* work, const ConvParams& p) {
    extern __shared__ __align__(16) unsigned char shared[];
    const float* tile = reinterpret_cast<float*>(shared);
    const Item item(p, blockIdx.x);
    Products<T>::template run<false>(p, x, weights, nullptr, item, shared);
    tile_moments(p, item, tile, work);
    write_sums<T>(p, item, tile, nullptr, y);
}

// One launch: every block keeps its tiles until the statistics of all are known.
template <typename T>
__device__ __forceinline__ void whole(const T* x, const T* weights, const float* gamma, const float* beta, T* y,
                                      double2* work, const ConvParams& p) {
    extern __shared__ __align__(16) unsigned char shared[];
    const auto grid = cooperative_groups::this_grid();
    const float* tile = reinterpret_cast<float*>(shared);
    T* kept = reinterpret_cast<T*>(shared + p.kept_at);
    const unsigned count = items(p);
    for (int k = 0; k < p.kept; k++) {
        const unsigned at = blockIdx.x + k * gridDim.x;
        if (at >= count) break;
        const Item item(p, at);
        Products<T>::template run<false>(p, x, weights, nullptr, item, shared);
        tile_moments(p, item, tile, work);
        for (int i = threadIdx.x; i < kOut * kPixels; i += kThreads) {
            kept[k * kOut * kPixels + i] = nearest<T>(tile[i / kPixels * kPitch + i % kPixels]);
        }
        __syncthreads();
    }
    grid.sync();
    merge_tiles<sizeof(T) == 2>(p, gamma, beta, work);
    grid.sync();
    const Affine* affine = tile_coefficients(p, work);
    for (int k = 0; k < p.kept; k++) {
        const unsigned at = blockIdx.x + k * gridDim.x;
        if (at >= count) break;
        const Item item(p, at);
        Affine* own = reinterpret_cast<Affine*>(shared);
        __syncthreads();
        for (int i = threadIdx.x; i < min(kOut, p.cout - item.column * kOut); i += kThreads) {
            own[i] = affine[int64(item.image) * p.cout + item.column * kOut + i];
        }
        __syncthreads();
        write_tile<T>(p, item, y, [&](int channel, int pixel) {
            const float v = widened(kept[(k * kOut + channel) * kPixels + pixel]);
            return nearest<T>(normalised(v, own[channel], p.relu));
        });
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    fused_conv_instancenorm_merge_f32(const float* gamma, const float* beta, double2* work, ConvParams p) {
    merge_tiles<false>(p, gamma, beta, work);
}
extern "C" __global__ void __launch_bounds__(kThreads)
    fused_conv_instancenorm_merge_f16(const float* gamma, const float* beta, double2* work, ConvParams p) {
    merge_tiles<true>(p, gamma, beta, work);
}

// The coefficients alone, for the consumer of a deferred norm.
extern "C" __global__ void __launch_bounds__(kThreads)
    fused_conv_instancenorm_coefficients(double2* work, Affine* to, ConvParams p) {
    const uint64 planes = uint64(p.batch) * p.cout;
    const Affine* affine = tile_coefficients(p, work);
    for (uint64 i = lockstep::first(); i < planes; i += lockstep::step()) to[i] = affine[i];
}

#define FUSED_CONV_NORM(T, NAME)                                                                                   \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) fused_conv_instancenorm_raw_##NAME(                  \
        const T* x, const T* weights, T* y, double2* work, ConvParams p) {                                         \
        raw_tile<T>(x, weights, y, work, p);                                                                       \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(kThreads) fused_conv_instancenorm_apply_##NAME(                   \
        T* y, double2* work, ConvParams p, PlaneParams planes) {                                                   \
        normalise<T>(y, tile_coefficients(p, work), nullptr, y, planes);                                           \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) fused_conv_instancenorm_whole_##NAME(                \
        const T* x, const T* weights, const float* gamma, const float* beta, T* y, double2* work, ConvParams p) {  \
        whole<T>(x, weights, gamma, beta, y, work, p);                                                             \
    }
FUSED_CONV_NORM(float, f32)
FUSED_CONV_NORM(__half, f16)
