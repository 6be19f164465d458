// Steps of solvers, a block a frame and channel; see
// src/kernels/{start,fista_step,sd_step,kkt,gradient,cg,stop}.rs. Where stop[0] is set, steps do nothing.
#include "ata.cuh"

extern "C" __global__ void ata_start(const float* b, const float* rho, float* x, FistaParams p) {
    const u64 start = u64(blockIdx.x) * p.n;
    const float* sums = rho + u64(blockIdx.x % p.channels) * p.n;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        x[start + i] = sums[i] > 0.0f ? clip(b[start + i] / sums[i], p) : p.lower;
    }
}

extern "C" __global__ void __launch_bounds__(256)
ata_fista_step(const unsigned* stop, const float* ay, const float* b, const float* rho, float* x, float* y, double* t,
               FistaParams p) {
    __shared__ double parts[32];
    if (stop[0]) return;
    const u64 start = u64(blockIdx.x) * p.n;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    rho += u64(blockIdx.x % p.channels) * p.n;
    ay += start, b += start, x += start, y += start;
    auto next = [&](unsigned i, float at) {
        const float g = fmaf(p.lambda, at, ay[i]) - b[i];
        return rho[i] > 0.0f ? clip(at - g / rho[i], p) : p.lower;
    };
    // Strip s belongs to part s mod 32: this warp has the strips 8 k + warp, and lane k mod 4 their part.
    double own = 0;
    for (unsigned k = 0; (8 * k + warp) * 32 < p.n; ++k) {
        const unsigned i = (8 * k + warp) * 32 + lane;
        double test = 0;
        if (i < p.n) {
            const float at = y[i], to = next(i, at);
            test = double(rho[i]) * (double(at) - double(to)) * (double(to) - double(x[i]));
        }
        test = lockstep::warp_sum(test);
        if (lane == k % 4) own += test;
    }
    if (lane < 4) parts[8 * lane + warp] = own;
    double after = t[blockIdx.x];
    __syncthreads();
    const float beta = momentum(after, lockstep::warp_sum(parts[lane]) > 0);
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const float to = next(i, y[i]);
        y[i] = fmaf(beta, to - x[i], to);
        x[i] = to;
    }
    if (threadIdx.x == 0) t[blockIdx.x] = after;
}

struct SdParams {
    FistaParams base;
    float factor;
};

extern "C" __global__ void ata_sd_step(const unsigned* stop, const float* g, const float* ag, float* x,
                                       SdParams p) {
    __shared__ double lanes[2][kLanes];
    if (stop[0]) return;
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

extern "C" __global__ void ata_gradient(const float* ax, const float* b, const float* x, float* g, FistaParams p) {
    const u64 start = u64(blockIdx.x) * p.n;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        g[start + i] = fmaf(p.lambda, x[start + i], ax[start + i]) - b[start + i];
    }
}

// 1 / rho, 0 in dead rows.
__device__ __forceinline__ double inverse(float rho) { return rho > 0.0f ? 1.0 / double(rho) : 0.0; }

extern "C" __global__ void ata_cg_start(const float* ax, const float* b, const float* rho, const float* x, double* at,
                                        double* rest, float* direction, double* rr, FistaParams p) {
    __shared__ double lanes[1][kLanes];
    const u64 start = u64(blockIdx.x) * p.n;
    rho += u64(blockIdx.x % p.channels) * p.n;
    double own[1] = {0};
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const u64 k = start + i;
        const double r = double(b[k]) - double(ax[k]) - double(p.lambda) * double(x[k]);
        at[k] = x[k];
        rest[k] = r;
        direction[k] = float(inverse(rho[i]) * r);
        own[0] += r * r * inverse(rho[i]);
    }
    fold(own, lanes);
    if (threadIdx.x == 0) rr[blockIdx.x] = own[0];
}

extern "C" __global__ void ata_cg_step(const unsigned* stop, const float* ap, const float* rho, double* at,
                                       double* rest, float* direction, double* rr, float* x, FistaParams p) {
    __shared__ double lanes[1][kLanes];
    if (stop[0]) return;
    const u64 start = u64(blockIdx.x) * p.n;
    rho += u64(blockIdx.x % p.channels) * p.n;
    const double lambda = p.lambda, before = rr[blockIdx.x];
    double own[1] = {0};
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const double d = direction[start + i];
        own[0] += d * (double(ap[start + i]) + lambda * d);
    }
    fold(own, lanes);
    const double alpha = own[0] > 0 && before > 0 ? before / own[0] : 0.0;
    // Every thread has read the sum.
    __syncthreads();
    own[0] = 0;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const u64 k = start + i;
        const double d = direction[k];
        const double to = at[k] + alpha * d, r = rest[k] - alpha * (double(ap[k]) + lambda * d);
        at[k] = to;
        rest[k] = r;
        x[k] = clip(float(to), p);
        own[0] += r * r * inverse(rho[i]);
    }
    fold(own, lanes);
    const double beta = alpha > 0 ? own[0] / before : 0.0;
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const u64 k = start + i;
        direction[k] = float(inverse(rho[i]) * rest[k] + beta * double(direction[k]));
    }
    if (threadIdx.x == 0) rr[blockIdx.x] = own[0];
}

struct StopParams {
    double tolerance;
    unsigned lines, iteration, look;
};

// One block: keeps the figures of a look, and stops when every line is within the tolerance.
extern "C" __global__ void ata_stop(const double* figures, unsigned* stop, double* history, StopParams p) {
    __shared__ double lanes[1][kLanes];
    if (stop[0]) return;
    double far[1] = {0};
    for (unsigned line = threadIdx.x; line < p.lines; line += kLanes) {
        const double kkt = figures[2 * u64(line)];
        if (!(kkt <= p.tolerance)) far[0] += 1;
        for (unsigned k = 0; k < 2; ++k) {
            history[(u64(p.look) * p.lines + line) * 2 + k] = figures[2 * u64(line) + k];
        }
    }
    // Every thread reads the flag before one sets it: the sums meet in between.
    fold(far, lanes);
    if (threadIdx.x == 0) {
        stop[0] = far[0] == 0 ? 1 : 0;
        stop[1] = p.iteration;
        stop[2] = p.look + 1;
    }
}
