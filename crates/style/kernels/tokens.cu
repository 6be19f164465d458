// Layer norm, means of tokens, and the way from pictures to tokens and back; see src/ops/layer_norm.rs and pixels.rs.
#include "ops.cuh"

using namespace style_ops;

struct RowParams {
    uint64 rows;                // rows, or tokens of one image
    unsigned images, width, add;
    float eps;
};
LOCKSTEP_PARAMS(RowParams, 24);

// A warp a row.
template <typename T>
__device__ __forceinline__ void layer_norm(const T* x, const float* gamma, const float* beta, const T* residual, T* y,
                                           const RowParams& p) {
    const int lane = threadIdx.x % 32, width = p.width;
    const uint64 row = lockstep::first() / 32;
    if (row >= p.rows) return;
    const T* from = x + row * width;
    const float pivot = widened(from[0]);
    float sum = 0, square = 0;
    for (int i = lane; i < width; i += 32) sum += widened(from[i]) - pivot;
    const float mean = pivot + lockstep::warp_sum(sum) / float(width);
    for (int i = lane; i < width; i += 32) {
        const float d = widened(from[i]) - mean;
        square += d * d;
    }
    const float scale = 1.0f / sqrtf(lockstep::warp_sum(square) / float(width) + p.eps);
    for (int i = lane; i < width; i += 32) {
        float v = fmaf((widened(from[i]) - mean) * scale, gamma[i], beta[i]);
        if (p.add) v += widened(residual[row * width + i]);
        y[row * width + i] = nearest<T>(v);
    }
}

constexpr int kPart = 256;    // tokens of a part; twin of TOKEN_PART

// Sums of a part of an image's tokens by channels, one token after the other: work[image][part][channel].
template <typename T>
__device__ __forceinline__ void token_sums(const T* x, double* work, const RowParams& p) {
    for (uint64 image = blockIdx.y; image < p.images; image += gridDim.y) {
        const uint64 first = uint64(blockIdx.x) * kPart, end = first + kPart < p.rows ? first + kPart : p.rows;
        for (unsigned c = threadIdx.x; c < p.width; c += blockDim.x) {
            double sum = 0;
            for (uint64 i = first; i < end; i++) sum += double(widened(x[(image * p.rows + i) * p.width + c]));
            work[(image * gridDim.x + blockIdx.x) * p.width + c] = sum;
        }
    }
}

template <typename T>
__device__ __forceinline__ void token_mean(const double* work, T* y, const RowParams& p) {
    const uint64 i = lockstep::first(), parts = (p.rows + kPart - 1) / kPart;
    if (i >= uint64(p.images) * p.width) return;
    const uint64 image = i / p.width, c = i % p.width;
    double sum = 0;
    for (uint64 k = 0; k < parts; k++) sum += work[(image * parts + k) * p.width + c];
    y[i] = nearest<T>(float(sum / double(p.rows)));
}

struct PixelParams {
    unsigned images, h, w, hp, wp, round;
};
LOCKSTEP_PARAMS(PixelParams, 24);

__device__ __forceinline__ unsigned mirrored_inside(unsigned i, unsigned n) {
    if (n == 1) return 0;
    const unsigned k = i % (2 * n - 2);
    return k < n ? k : 2 * n - 2 - k;
}

// Planes of f32, or bytes pixel after pixel.
__device__ __forceinline__ uint64 place(const float*, uint64 n, unsigned h, unsigned w, unsigned y, unsigned x, unsigned c) {
    return ((n * 3 + c) * h + y) * w + x;
}
__device__ __forceinline__ uint64 place(const unsigned char*, uint64 n, unsigned h, unsigned w, unsigned y, unsigned x,
                                        unsigned c) {
    return ((n * h + y) * w + x) * 3 + c;
}

template <typename S>
__device__ __forceinline__ float scaled(const S* x, const PixelParams& p, uint64 n, unsigned row, unsigned col, unsigned c) {
    const float v = float(x[place(x, n, p.h, p.w, mirrored_inside(row, p.h), mirrored_inside(col, p.w), c)]);
    return (v - 128.0f) / 64.0f;
}

template <typename S, typename T>
__device__ __forceinline__ void patches(const S* x, T* y, const PixelParams& p) {
    const uint64 rows = p.hp / 8, cols = p.wp / 8, count = p.images * rows * cols * 192;
    for (uint64 i = lockstep::first(); i < count; i += lockstep::step()) {
        const unsigned k = i % 192;
        const uint64 token = i / 192, line = token / cols;
        const unsigned c = token % cols, r = line % rows;
        y[i] = nearest<T>(scaled(x, p, line / rows, r * 8 + k / 8 % 8, c * 8 + k % 8, k / 64));
    }
}

// Eight channels a thread, of 24.
template <typename S, typename T>
__device__ __forceinline__ void decoded(const T* tokens, const S* x, T* y, const PixelParams& p) {
    const uint64 count = uint64(p.images) * p.hp * p.wp * 3;
    for (uint64 i = lockstep::first(); i < count; i += lockstep::step()) {
        const unsigned group = i % 3;
        const uint64 pixel = i / 3, line = pixel / p.wp, n = line / p.hp;
        const unsigned col = pixel % p.wp, row = line % p.hp;
        T* to = y + pixel * 24 + group * 8;
        if (group < 2) {
            const uint64 token = (n * (p.hp / 8) + row / 8) * (p.wp / 8) + col / 8;
            const T* from = tokens + (token * 64 + row % 8 * 8 + col % 8) * 16 + group * 8;
#pragma unroll
            for (int k = 0; k < 8; k++) to[k] = from[k];
        } else {
#pragma unroll
            for (int k = 0; k < 8; k++) to[k] = nearest<T>(k < 3 ? scaled(x, p, n, row, col, k) : 0.0f);
        }
    }
}

__device__ __forceinline__ void paint(float* to, float v, unsigned) { *to = v; }
__device__ __forceinline__ void paint(unsigned char* to, float v, unsigned round) {
    v = v < 0.0f ? 0.0f : (v > 255.0f ? 255.0f : v);
    v = round ? roundf(v) : truncf(v);
    *to = v == v ? static_cast<unsigned char>(v) : 0;
}

template <typename S, typename T>
__device__ __forceinline__ void repaint(const T* x, S* y, const PixelParams& p, unsigned h, unsigned w) {
    const uint64 count = uint64(p.images) * h * w * 3;
    for (uint64 i = lockstep::first(); i < count; i += lockstep::step()) {
        const uint64 pixel = i / 3, line = pixel / w, n = line / h;
        const unsigned c = i % 3, col = pixel % w, row = line % h;
        const float v = widened(x[((n * p.hp + row) * p.wp + col) * 3 + c]);
        paint(&y[place(y, n, h, w, row, col, c)], fmaf(v, 64.0f, 128.0f), p.round);
    }
}

#define TOKENS(T, NAME)                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_##NAME(                                             \
        const T* x, const float* gamma, const float* beta, const T* residual, T* y, RowParams p) {                   \
        layer_norm<T>(x, gamma, beta, residual, y, p);                                                               \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) token_sums_##NAME(const T* x, double* work, RowParams p) {     \
        token_sums<T>(x, work, p);                                                                                   \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) token_mean_##NAME(const double* work, T* y, RowParams p) {     \
        token_mean<T>(work, y, p);                                                                                   \
    }
TOKENS(float, f32)
TOKENS(__half, f16)

#define PIXELS(S, KIND, T, NAME)                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) patches_##KIND##_##NAME(const S* x, T* y, PixelParams p) {     \
        patches<S, T>(x, y, p);                                                                                      \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        decoded_##KIND##_##NAME(const T* tokens, const S* x, T* y, PixelParams p) {                                  \
        decoded<S, T>(tokens, x, y, p);                                                                              \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        repaint_##KIND##_##NAME(const T* x, S* y, PixelParams p, unsigned h, unsigned w) {                           \
        repaint<S, T>(x, y, p, h, w);                                                                                \
    }
PIXELS(float, planes, float, f32)
PIXELS(float, planes, __half, f16)
PIXELS(unsigned char, bytes, float, f32)
PIXELS(unsigned char, bytes, __half, f16)
