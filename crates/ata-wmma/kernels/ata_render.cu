// The forward picture: a thread a pixel gathers the unknowns of its tile; see src/kernels/render.rs.
#include "ata.cuh"

struct RenderParams {
    unsigned frames, channels, n, side, width, height, tiles;
};

extern "C" __global__ void ata_render(const unsigned char* data, const int* corners, const unsigned* starts,
                                      const unsigned* members, const float* x, float* out, RenderParams p) {
    const unsigned row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    const u64 line = blockIdx.z;
    const unsigned c = blockIdx.z % p.channels, tile = blockIdx.y * p.tiles + blockIdx.x;
    if (row >= p.height || column >= p.width) return;
    float sum = 0;
    for (unsigned i = starts[tile]; i < starts[tile + 1]; ++i) {
        const unsigned l = members[i];
        const unsigned u = row - unsigned(corners[2 * l]), v = column - unsigned(corners[2 * l + 1]);
        // Above and left of the window the differences wrap around.
        if (u < p.side && v < p.side) {
            const u64 at = ((u64(l) * p.channels + c) * p.side + u) * p.side + v;
            sum = fmaf(float(data[at]), x[line * p.n + l], sum);
        }
    }
    out[(line * p.height + row) * p.width + column] = sum / 255.0f;
}
