// lockstep: arch = compute_80
// All layers in f16 on some rows of an image, in tiles for large images. See src/kernels/net_rows.rs.
#include "net_rows.cuh"

#include "net_body.cuh"
#include "net_ends.cuh"

#define NET_BODY_ROWS(NAME, KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS, RESIDENT)                                    \
    extern "C" __global__ void                                                                                       \
        __launch_bounds__(net::Body<net::KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS>::THREADS, RESIDENT)             \
            NAME(const __half* x, const net::Sums* in, const float2* gamma_beta, const __half* previous,             \
                 __half* kept, const uint4* weights, __half* y, net::Sums* out, unsigned* saturated,                 \
                 net::LayerParams p, net::RowsParams r) {                                                            \
        net::body<net::KIND, net::Body<net::KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS>>(                            \
            net::beginning(x, r.x_row, p.w, CIN), net::beginning(previous, r.x_row, p.w, CIN),                       \
            net::beginning(kept, r.y_row, p.w, CIN), weights, net::beginning(y, r.y_row, p.wo, COUT),                \
            net::Statistics{in, gamma_beta, out, nullptr, saturated}, p, r.first_tile);                              \
    }
NET_BODY_ROWS(net_rows_same_128_128, SAME, 128, 128, 8, 128, 4, 2, 1, 4, 2)
NET_BODY_ROWS(net_rows_down_32_64, DOWN, 32, 64, 8, 64, 4, 2, 1, 4, 3)
NET_BODY_ROWS(net_rows_down_64_128, DOWN, 64, 128, 4, 128, 2, 4, 1, 4, 2)
NET_BODY_ROWS(net_rows_up_128_64, UP, 128, 64, 4, 64, 1, 2, 1, 2, 2)
NET_BODY_ROWS(net_rows_up_64_32, UP, 64, 32, 8, 32, 2, 1, 1, 4, 2)
NET_BODY_ROWS(net_rows_down_16_32, DOWN, 16, 32, 8, 32, 4, 1, 1, 1, 3)
NET_BODY_ROWS(net_rows_same_64_64, SAME, 64, 64, 8, 64, 4, 2, 1, 4, 2)
NET_BODY_ROWS(net_rows_up_32_16, UP, 32, 16, 8, 16, 2, 1, 1, 2, 2)

#define NET_FIRST_ROWS(NAME, COUT, TH, WM, RESIDENT)                                                                 \
    extern "C" __global__ void __launch_bounds__(32 * WM, RESIDENT)                                                  \
        NAME(const net::Pixel* x, const uint4* weights, __half* y, net::Sums* out, unsigned* saturated,              \
             net::LayerParams p, net::RowsParams r) {                                                                \
        net::first<net::First<COUT, TH, WM>>(net::beginning(x, r.x_row, p.w, 1), weights,                            \
                                             net::beginning(y, r.y_row, p.wo, COUT),                                 \
                                             net::Statistics{nullptr, nullptr, out, nullptr, saturated}, p,          \
                                             r.first_tile);                                                          \
    }
NET_FIRST_ROWS(net_rows_first_32, 32, 32, 8, 2)
NET_FIRST_ROWS(net_rows_first_16, 16, 16, 8, 3)

#define NET_LAST_ROWS(NAME, CIN, TH, TW, RESIDENT)                                                                   \
    extern "C" __global__ void __launch_bounds__(net::Last<CIN, TH, TW>::THREADS, RESIDENT)                          \
        NAME(const __half* x, const net::Sums* in, const float2* gamma_beta, const uint4* weights,                   \
             const float* bias, unsigned* saturated, unsigned* flag, net::Pixel* out, net::LayerParams p,            \
             net::RowsParams r) {                                                                                    \
        net::last<net::Last<CIN, TH, TW>>(net::beginning(x, r.x_row, p.w, CIN), weights, bias, flag,                 \
                                          net::beginning(out, r.y_row, p.wo, 1),                                     \
                                          net::Statistics{in, gamma_beta, nullptr, nullptr, saturated}, p,           \
                                          r.first_tile);                                                             \
    }
NET_LAST_ROWS(net_rows_last_32, 32, 8, 64, 2)
NET_LAST_ROWS(net_rows_last_16, 16, 8, 64, 2)
