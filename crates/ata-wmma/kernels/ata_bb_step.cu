// A step of projected Barzilai-Borwein, a block a frame and channel; see src/kernels/bb_step.rs.
#include "ata.cuh"

struct BbParams {
    FistaParams base;
    unsigned iteration, last;
};

extern "C" __global__ void __launch_bounds__(256)
ata_bb_step(const unsigned* stop, const float* ax, const float* b, const float* rho, float* x, float* x_before,
            float* g_before, float* best, double* lowest, BbParams p) {
    __shared__ double lanes[4][kLanes];
    if (stop[0]) return;
    const u64 start = u64(blockIdx.x) * p.base.n;
    rho += u64(blockIdx.x % p.base.channels) * p.base.n;
    ax += start, b += start, x += start, x_before += start, g_before += start, best += start;
    auto gradient = [&](unsigned i) { return fmaf(p.base.lambda, x[i], ax[i]) - b[i]; };
    // The objective, and the products of the changes of x and of the gradient, with rho, with each other, over rho.
    double own[4] = {};
    for (unsigned i = threadIdx.x; i < p.base.n; i += kLanes) {
        const float g = gradient(i);
        own[0] += double(x[i]) * (double(g) - double(b[i]));
        if (p.iteration > 0) {
            const double s = double(x[i]) - double(x_before[i]), d = double(g) - double(g_before[i]);
            own[1] += double(rho[i]) * s * s;
            own[2] += s * d;
            own[3] += rho[i] > 0.0f ? d * d / double(rho[i]) : 0.0;
        }
    }
    fold(own, lanes);
    const double value = 0.5 * own[0];
    const bool better = p.iteration == 0 || value < lowest[blockIdx.x];
    double length = 1.0;
    if (own[2] > 0) {
        length = p.iteration % 2 == 1 ? own[1] / own[2] : own[2] / own[3];
        length = length < 1e-3 ? 1e-3 : length;
        length = length > 1e4 ? 1e4 : length;
    }
    const float minus = -float(length);
    // Every thread has read the lowest objective.
    __syncthreads();
    for (unsigned i = threadIdx.x; i < p.base.n; i += kLanes) {
        const float at = x[i], g = gradient(i);
        if (better) best[i] = at;
        if (p.last) {
            x[i] = best[i];
        } else {
            x_before[i] = at;
            g_before[i] = g;
            x[i] = rho[i] > 0.0f ? clip(fmaf(minus, g / rho[i], at), p.base) : p.base.lower;
        }
    }
    if (better && threadIdx.x == 0) lowest[blockIdx.x] = value;
}
