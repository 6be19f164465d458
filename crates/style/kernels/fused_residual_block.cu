// lockstep: arch = compute_80
// A residual block: two convolutions with their norms, and the sum; see src/kernels/fused_residual_block.rs.
#include <cooperative_groups.h>

#include "conv.cuh"

using namespace style_ops;

// One tile of a convolution with its moments, of x as it is, or of its norm with ReLU.
template <typename T, bool AFFINE>
__device__ __forceinline__ void tile_of(const ConvParams& p, unsigned at, const T* x, const T* weights,
                                        const Affine* affine, T* y, double2* work) {
    extern __shared__ __align__(16) unsigned char shared[];
    const float* tile = reinterpret_cast<float*>(shared);
    const Item item(p, at);
    Products<T>::template run<AFFINE>(p, x, weights, affine, item, shared);
    tile_moments(p, item, tile, work);
    write_sums<T>(p, item, tile, nullptr, y);
}

// Working memory of the second convolution: behind that of the first.
__device__ __forceinline__ double2* behind(const ConvParams& first, double2* work) {
    return work + int64(first.batch) * first.cout * (first.phases * first.tiles_y * first.tiles_x + 1);
}

// One launch. The raw values between the convolutions go through `middle`, which the L2 cache holds at these sizes.
template <typename T>
__device__ __forceinline__ void whole(const T* x, const T* weights1, const T* weights2, const float* gamma1,
                                      const float* beta1, const float* gamma2, const float* beta2, T* middle, T* y,
                                      double2* work, const ConvParams& first, const ConvParams& second,
                                      const PlaneParams& planes) {
    double2* work2 = behind(first, work);
    const auto grid = cooperative_groups::this_grid();
    constexpr bool ROUNDED = sizeof(T) == 2;
    for (unsigned i = blockIdx.x; i < items(first); i += gridDim.x) {
        tile_of<T, false>(first, i, x, weights1, nullptr, middle, work);
        __syncthreads();
    }
    grid.sync();
    merge_tiles<ROUNDED>(first, gamma1, beta1, work);
    grid.sync();
    for (unsigned i = blockIdx.x; i < items(second); i += gridDim.x) {
        tile_of<T, true>(second, i, middle, weights2, tile_coefficients(first, work), y, work2);
        __syncthreads();
    }
    grid.sync();
    merge_tiles<ROUNDED>(second, gamma2, beta2, work2);
    grid.sync();
    normalise<T>(y, tile_coefficients(second, work2), x, y, planes);
}

#define FUSED_RESIDUAL_BLOCK(T, NAME)                                                                               \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) fused_residual_block_second_##NAME(                   \
        const T* middle, const T* weights, T* y, double2* work, ConvParams first, ConvParams second) {             \
        tile_of<T, true>(second, blockIdx.x, middle, weights, tile_coefficients(first, work), y,                    \
                         behind(first, work));                                                                      \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(kThreads)                                                          \
        fused_residual_block_merge_##NAME(const float* gamma, const float* beta, double2* work, ConvParams first,   \
                                          ConvParams second) {                                                      \
        merge_tiles<sizeof(T) == 2>(second, gamma, beta, behind(first, work));                                      \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(kThreads) fused_residual_block_apply_##NAME(                       \
        const T* x, T* y, double2* work, ConvParams first, ConvParams second, PlaneParams planes) {                 \
        normalise<T>(y, tile_coefficients(second, behind(first, work)), x, y, planes);                              \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) fused_residual_block_whole_##NAME(                    \
        const T* x, const T* weights1, const T* weights2, const float* gamma1, const float* beta1,                  \
        const float* gamma2, const float* beta2, T* middle, T* y, double2* work, ConvParams first,                  \
        ConvParams second, PlaneParams planes) {                                                                    \
        whole<T>(x, weights1, weights2, gamma1, beta1, gamma2, beta2, middle, y, work, first, second, planes);  \
    }
FUSED_RESIDUAL_BLOCK(float, f32)
FUSED_RESIDUAL_BLOCK(__half, f16)
