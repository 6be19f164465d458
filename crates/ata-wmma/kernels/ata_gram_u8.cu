// Exact Gram blocks of patterns: a thread an element, a block a pair of block rows; see src/kernels/gram_u8.rs.
#include "ata.cuh"

struct GramParams {
    unsigned n, channels, side, blocks;
};

extern "C" __global__ void ata_gram_u8(const unsigned char* data, const int* corners, const unsigned* list,
                                       unsigned* out, GramParams p) {
    const unsigned c = blockIdx.y, block = blockIdx.x;
    const unsigned l = list[2 * block] * 16 + threadIdx.x / 16, m = list[2 * block + 1] * 16 + threadIdx.x % 16;
    unsigned sum = 0;
    if (l < p.n && m < p.n) {
        const int down = corners[2 * m] - corners[2 * l], right = corners[2 * m + 1] - corners[2 * l + 1];
        const int side = p.side, rows = side - abs(down), columns = side - abs(right);
        const u64 window = u64(p.side) * p.side;
        const unsigned char* a = data + (u64(l) * p.channels + c) * window + max(down, 0) * side + max(right, 0);
        const unsigned char* b = data + (u64(m) * p.channels + c) * window + max(-down, 0) * side + max(-right, 0);
        for (int u = 0; u < rows; ++u) {
            for (int v = 0; v < columns; ++v) sum += unsigned(a[u * side + v]) * b[u * side + v];
        }
    }
    out[(u64(c) * p.blocks + block) * 256 + threadIdx.x] = sum;
}
