// lockstep: arch = compute_80
// The 9 x 9 layers at both ends in f16, for pictures as planes and as bytes.
#include "net_ends.cuh"

#define NET_FIRST(NAME, T, COUT, TH, WM, RESIDENT)                                                                   \
    extern "C" __global__ void __launch_bounds__(32 * WM, RESIDENT)                                                  \
        NAME(const T* x, const uint4* weights, __half* y, net::Sums* out, net::Sums* old, unsigned* saturated,       \
             net::LayerParams p) {                                                                                   \
        net::first<net::First<COUT, TH, WM>>(x, weights, y, net::Statistics{nullptr, nullptr, out, old, saturated},  \
                                             p);                                                                     \
    }
NET_FIRST(net_first_planes_32_wide, float, 32, 32, 8, 2)
NET_FIRST(net_first_bytes_32_wide, unsigned char, 32, 32, 8, 2)
NET_FIRST(net_first_planes_32_small, float, 32, 8, 4, 2)
NET_FIRST(net_first_bytes_32_small, unsigned char, 32, 8, 4, 2)
NET_FIRST(net_first_planes_16_wide, float, 16, 16, 8, 3)
NET_FIRST(net_first_bytes_16_wide, unsigned char, 16, 16, 8, 3)

#define NET_LAST(NAME, T, CIN, TH, TW, RESIDENT)                                                                     \
    extern "C" __global__ void __launch_bounds__(net::Last<CIN, TH, TW>::THREADS, RESIDENT)                          \
        NAME(const __half* x, const net::Sums* in, const float2* gamma_beta, const uint4* weights,                   \
             const float* bias, net::Sums* old, unsigned* saturated, unsigned* flag, T* out, net::LayerParams p) {   \
        net::last<net::Last<CIN, TH, TW>>(x, weights, bias, flag, out,                                               \
                                          net::Statistics{in, gamma_beta, nullptr, old, saturated}, p);              \
    }
NET_LAST(net_last_planes_32_wide, float, 32, 8, 64, 2)
NET_LAST(net_last_bytes_32_wide, unsigned char, 32, 8, 64, 2)
NET_LAST(net_last_planes_32_small, float, 32, 8, 32, 2)
NET_LAST(net_last_bytes_32_small, unsigned char, 32, 8, 32, 2)
NET_LAST(net_last_planes_16_wide, float, 16, 8, 64, 2)
NET_LAST(net_last_bytes_16_wide, unsigned char, 16, 8, 64, 2)
