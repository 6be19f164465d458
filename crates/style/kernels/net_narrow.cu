// lockstep: arch = compute_80
// The 3 x 3 layers at base width 16 that width 32 does not have; shapes as in `TILES` of src/kernels/net_body.rs.
#include "net_body.cuh"

NET_BODY(net_down_16_32_wide, DOWN, 16, 32, 8, 32, 4, 1, 1, 1, 3)
NET_BODY(net_same_64_64_wide, SAME, 64, 64, 8, 64, 4, 2, 1, 4, 2)
NET_BODY(net_same_64_64_small, SAME, 64, 64, 4, 64, 2, 2, 2, 4, 2)
NET_BODY(net_up_32_16_wide, UP, 32, 16, 8, 16, 2, 1, 1, 2, 2)
