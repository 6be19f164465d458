// lockstep: arch = compute_80
// The 3 x 3 layers at base width 32 in tiles for small images, whose blocks are many; shapes as in `TILES` of
// src/kernels/net_body.rs.
#include "net_body.cuh"

NET_BODY(net_same_128_128_small, SAME, 128, 128, 4, 64, 2, 2, 4, 8, 1)
NET_BODY(net_down_32_64_small, DOWN, 32, 64, 4, 64, 2, 2, 2, 4, 2)
NET_BODY(net_down_64_128_small, DOWN, 64, 128, 4, 64, 2, 2, 4, 4, 1)
NET_BODY(net_up_128_64_small, UP, 128, 64, 2, 64, 1, 2, 2, 2, 1)
NET_BODY(net_up_64_32_small, UP, 64, 32, 4, 32, 2, 1, 1, 4, 2)
