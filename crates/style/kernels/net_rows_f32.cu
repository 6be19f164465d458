// All layers in f32 on some rows of an image. See src/kernels/net_rows.rs.
#include "net_rows.cuh"

#include "net_f32.cuh"

#define NET_BODY_ROWS(NAME, KIND, NB)                                                                                \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                             \
        NAME(const float* x, const net::Centred* norm, const float* previous, float* kept, const float4* weights,    \
             float* y, net::Moments* partial, float4* grouped, unsigned* tickets, const float2* gamma_beta,          \
             net::Centred* out, net::LayerParams p, net::RowsParams r) {                                             \
        net::body<net::KIND, NB>(net::beginning(x, r.x_row, p.w, p.cin), norm,                                       \
                                 net::beginning(previous, r.x_row, p.w, p.cin),                                      \
                                 net::beginning(kept, r.y_row, p.w, p.cin), weights,                                 \
                                 net::beginning(y, r.y_row, p.wo, p.cout),                                           \
                                 net::Results{partial, grouped, tickets, gamma_beta, out}, p, r.first_tile);         \
    }
NET_BODY_ROWS(net_rows_same_f32_64, SAME, 64)
NET_BODY_ROWS(net_rows_same_f32_32, SAME, 32)
NET_BODY_ROWS(net_rows_down_f32_64, DOWN, 64)
NET_BODY_ROWS(net_rows_down_f32_32, DOWN, 32)
NET_BODY_ROWS(net_rows_up_f32_64, UP, 64)
NET_BODY_ROWS(net_rows_up_f32_32, UP, 32)

extern "C" __global__ void __launch_bounds__(128, 2)
    net_rows_first_f32(const net::Pixel* x, const float4* weights, float* y, net::Moments* partial, float4* grouped,
                       unsigned* tickets, const float2* gamma_beta, net::Centred* out, net::LayerParams p,
                       net::RowsParams r) {
    net::first(net::beginning(x, r.x_row, p.w, 1), weights, net::beginning(y, r.y_row, p.wo, p.cout),
               net::Results{partial, grouped, tickets, gamma_beta, out}, p, r.first_tile);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    net_rows_last_f32(const float* x, const net::Centred* norm, const float4* weights, const float* bias,
                      unsigned* saturated, unsigned* flag, net::Pixel* out, net::LayerParams p, net::RowsParams r) {
    net::last(net::beginning(x, r.x_row, p.w, p.cin), norm, weights, bias, saturated, flag,
              net::beginning(out, r.y_row, p.wo, 1), p, r.first_tile);
}
