// lockstep: arch = compute_80
// The 3 x 3 layers at base width 32 in tiles for large images; shapes as in `TILES` of src/kernels/net_body.rs.
#include "net_body.cuh"

NET_BODY(net_same_128_128_wide, SAME, 128, 128, 8, 128, 4, 2, 1, 4, 2)
NET_BODY(net_down_32_64_wide, DOWN, 32, 64, 8, 64, 4, 2, 1, 4, 3)
NET_BODY(net_down_64_128_wide, DOWN, 64, 128, 4, 128, 2, 4, 1, 4, 2)
NET_BODY(net_up_128_64_wide, UP, 128, 64, 4, 64, 1, 2, 1, 2, 2)
NET_BODY(net_up_64_32_wide, UP, 64, 32, 8, 32, 2, 1, 1, 4, 2)
