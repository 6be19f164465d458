// Steps of solvers, a block a frame and channel; see src/kernels/{start,fista_step,sd_step,kkt}.rs.
#include "ata.cuh"

extern "C" __global__ void ata_start(const float* b, const float* rho, float* x, FistaParams p) {
    const u64 start = u64(blockIdx.x) * p.n;
    const float* sums = rho + u64(blockIdx.x % p.channels) * p.n;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        x[start + i] = sums[i] > 0.0f ? clip(b[start + i] / sums[i], p) : p.lower;
    }
}

extern "C" __global__ void ata_fista_step(const float* ay, const float* b, const float* rho, float* x, float* y,
                                          double* t, FistaParams p) {
    __shared__ double lanes[1][kLanes];
    const u64 start = u64(blockIdx.x) * p.n;
    rho += u64(blockIdx.x % p.channels) * p.n;
    ay += start, b += start, x += start, y += start;
    auto next = [&](unsigned i, float at) {
        const float g = fmaf(p.lambda, at, ay[i]) - b[i];
        return rho[i] > 0.0f ? clip(at - g / rho[i], p) : p.lower;
    };
    double own[1] = {0};
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const float at = y[i], to = next(i, at);
        const double back = double(at) - double(to), ahead = double(to) - double(x[i]);
        own[0] += double(rho[i]) * back * ahead;
    }
    const double before = t[blockIdx.x];
    fold(own, lanes);
    double after, beta;
    if (own[0] > 0) {
        after = (1.0 + sqrt(5.0)) * 0.5;
        beta = 0;
    } else {
        after = (1.0 + sqrt(1.0 + 4.0 * before * before)) * 0.5;
        beta = (before - 1.0) / after;
    }
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const float to = next(i, y[i]);
        y[i] = fmaf(float(beta), to - x[i], to);
        x[i] = to;
    }
    if (threadIdx.x == 0) t[blockIdx.x] = after;
}

struct SdParams {
    FistaParams base;
    float factor;
};

extern "C" __global__ void ata_sd_step(const float* g, const float* ag, float* x, SdParams p) {
    __shared__ double lanes[2][kLanes];
    const unsigned each = p.base.n * p.base.channels;
    const u64 start = u64(blockIdx.x) * each;
    double own[2] = {0, 0};
    for (unsigned i = threadIdx.x; i < each; i += kLanes) {
        const double v = g[start + i];
        own[0] += v * v;
        own[1] += v * double(ag[start + i]);
    }
    fold(own, lanes);
    const double below = own[1] + double(p.base.lambda) * own[0];
    const double alpha = below > 0 ? double(p.factor) * own[0] / below : 0.0;
    for (unsigned i = threadIdx.x; i < each; i += kLanes) {
        x[start + i] = clip(fmaf(-float(alpha), g[start + i], x[start + i]), p.base);
    }
}

extern "C" __global__ void ata_kkt(const float* ax, const float* b, const float* rho, const float* x, double* out,
                                   FistaParams p) {
    __shared__ double lanes[1][kLanes];
    __shared__ float steps[kLanes / 32];
    const u64 start = u64(blockIdx.x) * p.n;
    rho += u64(blockIdx.x % p.channels) * p.n;
    double own[1] = {0};
    float largest = 0;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const float at = x[start + i], right = b[start + i];
        const float g = fmaf(p.lambda, at, ax[start + i]) - right;
        if (rho[i] > 0.0f) {
            const float step = fabsf(at - clip(at - g / rho[i], p));
            largest = step > largest ? step : largest;
        }
        own[0] += double(at) * (double(g) - double(right));
    }
    largest = lockstep::warp_max(largest);
    if (threadIdx.x % 32 == 0) steps[threadIdx.x / 32] = largest;
    fold(own, lanes);
    if (threadIdx.x == 0) {
        for (unsigned w = 0; w < kLanes / 32; ++w) largest = steps[w] > largest ? steps[w] : largest;
        out[u64(blockIdx.x) * 2] = double(largest);
        out[u64(blockIdx.x) * 2 + 1] = 0.5 * own[0];
    }
}
