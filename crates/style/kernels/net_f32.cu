// The layers of the network in f32, for pictures as planes and as bytes.
#include "net_f32.cuh"

#define NET_BODY(NAME, KIND, NB)                                                                                     \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                             \
        NAME(const float* x, const net::Centred* norm, const float* previous, float* kept, const float4* weights,    \
             float* y, net::Moments* partial, float4* grouped, unsigned* tickets, const float2* gamma_beta,          \
             net::Centred* out, net::LayerParams p) {                                                                \
        net::body<net::KIND, NB>(x, norm, previous, kept, weights, y,                                                \
                                 net::Results{partial, grouped, tickets, gamma_beta, out}, p);                       \
    }
NET_BODY(net_same_f32_64, SAME, 64)
NET_BODY(net_same_f32_32, SAME, 32)
NET_BODY(net_down_f32_64, DOWN, 64)
NET_BODY(net_down_f32_32, DOWN, 32)
NET_BODY(net_up_f32_64, UP, 64)
NET_BODY(net_up_f32_32, UP, 32)

#define NET_FIRST(NAME, T)                                                                                           \
    extern "C" __global__ void __launch_bounds__(128, 2)                                                             \
        NAME(const T* x, const float4* weights, float* y, net::Moments* partial, float4* grouped, unsigned* tickets, \
             const float2* gamma_beta, net::Centred* out, net::LayerParams p) {                                      \
        net::first(x, weights, y, net::Results{partial, grouped, tickets, gamma_beta, out}, p);                      \
    }
NET_FIRST(net_first_planes_f32, float)
NET_FIRST(net_first_bytes_f32, unsigned char)

#define NET_LAST(NAME, T)                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                             \
        NAME(const float* x, const net::Centred* norm, const float4* weights, const float* bias,                     \
             unsigned* saturated, unsigned* flag, T* out, net::LayerParams p) {                                      \
        net::last(x, norm, weights, bias, saturated, flag, out, p);                                                  \
    }
NET_LAST(net_last_planes_f32, float)
NET_LAST(net_last_bytes_f32, unsigned char)
