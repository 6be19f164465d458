// lockstep: arch = compute_80
// Convolution with reflection padding and bias; see src/kernels/fused_conv_reflection_pad.rs.
#include "conv.cuh"

using namespace style_ops;

template <typename T>
__device__ __forceinline__ void convolve(const T* x, const T* weights, const float* bias, T* y, const ConvParams& p) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Item item(p, blockIdx.x);
    Products<T>::template run<false>(p, x, weights, nullptr, item, shared);
    write_sums<T>(p, item, reinterpret_cast<float*>(shared), bias, y, p.relu);
}

#define FUSED_CONV(T, NAME)                                                                                        \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) fused_conv_reflection_pad_##NAME(                    \
        const T* x, const T* weights, const float* bias, T* y, ConvParams p) {                                     \
        convolve<T>(x, weights, bias, y, p);                                                                       \
    }
FUSED_CONV(float, f32)
FUSED_CONV(__half, f16)
