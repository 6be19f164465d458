// Figures of lines from those of their strips: a warp a line; see src/kernels/sums.rs.
#include "ata.cuh"

struct SumsParams {
    unsigned lines, strips, figures;
};

extern "C" __global__ void __launch_bounds__(256) ata_sums(const double* partials, double* out, SumsParams p) {
    const unsigned line = blockIdx.x * 8 + threadIdx.x / 32;
    if (line >= p.lines) return;
    for (unsigned k = 0; k < p.figures; ++k) {
        const double sum = add_strips(
            p.strips, [&](unsigned s) { return partials[(u64(line) * p.strips + s) * p.figures + k]; });
        if (threadIdx.x % 32 == 0) out[u64(line) * p.figures + k] = sum;
    }
}

struct ScaleParams {
    double unit;
    u64 len;
};

// Real right sides from exact sums; see src/kernels/scale.rs.
extern "C" __global__ void ata_scale_sums(const u64* sums, float* out, ScaleParams p) {
    const u64 i = lockstep::first();
    if (i < p.len) out[i] = float(double(sums[i]) / p.unit);
}
