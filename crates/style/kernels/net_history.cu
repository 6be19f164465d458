// Statistics of frames that follow one another. See src/kernels/net_history.rs.
#include "net.cuh"

namespace net {

// Twin of HistoryParams.
struct HistoryParams {
    double count;          // pixels of a plane
    double own;            // share of the frame's own statistics
    double value, square;  // f16: units a 1 of sums of values and of squares
    double eps;
    int channels, unused;
};
LOCKSTEP_PARAMS(HistoryParams, 48);

// Mean and biased variance of a plane.
struct Plane {
    double mean, variance;
};

// What this plane is normalised with; the first frame's own.
__device__ __forceinline__ Plane blended(Plane now, Plane& history, bool first, double own) {
    if (!first) {
        now.mean = fma(own, now.mean - history.mean, history.mean);
        now.variance = fma(own, now.variance - history.variance, history.variance);
    }
    history = now;
    return now;
}

}  // namespace net

extern "C" __global__ void __launch_bounds__(256)
    net_history_f16(long long* sums, net::Plane* history, unsigned* seen, net::HistoryParams p) {
    // Twins of SUMS and FINER.
    constexpr int SUMS = 256;
    constexpr double FINER = 0x1p30;
    const bool first = *seen == 0;
    __syncthreads();
    if (threadIdx.x == 0) *seen = 1;
    for (int c = threadIdx.x; c < p.channels; c += blockDim.x) {
        long long value = 0, square = 0, rest = 0;
        for (int i = c, k = 0; k < SUMS / p.channels; i += p.channels, k++) {
            value += sums[4 * i], square += sums[4 * i + 1], rest += sums[4 * i + 2];
        }
        const double mean = double(value) / p.value / p.count;
        const double squares = (double(square) + double(rest) / FINER) / p.square / p.count;
        const net::Plane now = {mean, fmax(squares - mean * mean, 0.0)};
        const net::Plane used = net::blended(now, history[c], first, p.own);
        if (first) continue;
        for (int i = c, k = 0; k < SUMS / p.channels; i += p.channels, k++) {
            sums[4 * i] = sums[4 * i + 1] = sums[4 * i + 2] = 0;
        }
        const double units = (used.variance + used.mean * used.mean) * p.count * p.square, whole = rint(units);
        sums[4 * c] = __double2ll_rn(used.mean * p.count * p.value);
        sums[4 * c + 1] = __double2ll_rn(whole);
        sums[4 * c + 2] = __double2ll_rn((units - whole) * FINER);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    net_history_f32(float* stats, const float2* gamma_beta, net::Plane* history, unsigned* seen, net::HistoryParams p) {
    const bool first = *seen == 0;
    __syncthreads();
    if (threadIdx.x == 0) *seen = 1;
    for (int c = threadIdx.x; c < p.channels; c += blockDim.x) {
        // A plane whose scale is 0 is its beta, whatever its variance.
        const double gamma = gamma_beta[c].x, root = gamma == 0.0 ? 0.0 : gamma / double(stats[3 * c + 1]);
        const net::Plane now = {double(stats[3 * c]), fmax(root * root - p.eps, 0.0)};
        const net::Plane used = net::blended(now, history[c], first, p.own);
        if (first) continue;
        stats[3 * c] = float(used.mean);
        stats[3 * c + 1] = float(gamma / sqrt(used.variance + p.eps));
    }
}
