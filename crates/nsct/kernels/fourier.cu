// What surrounds the library's transforms in dct2, idct2, rfft2, irfft2, tree_analysis and tree_synthesis; see
// src/kernels/fourier_cuda. One plane at a time; half spectra are [H, W/2 + 1].
#include "nsct.cuh"

struct SurroundParams {
    unsigned bands, height, width, flags;
    double scale;
};

constexpr unsigned ADD = 1, GAIN = 2;

template <typename T>
struct Complex {
    T x, y;
};

template <typename T>
__device__ __forceinline__ Complex<T> times(Complex<T> a, Complex<T> b) {
    return {fused(a.x, b.x, -(a.y * b.y)), fused(a.x, b.y, a.y * b.x)};
}

// Indexed by element, all kernels loop over a plane.
#define FOR_PLANE(total)                                                                                              \
    for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < (total);               \
         i += (unsigned long long)gridDim.x * blockDim.x)

__device__ __forceinline__ unsigned cosine_source(unsigned n, unsigned len) {
    return 2 * n < len ? 2 * n : 2 * (len - 1 - n) + 1;
}

// y[n1, n2] = x[source(n1), source(n2)], or back.
template <typename T, bool BACK>
__device__ void reorder(const T* __restrict__ x, T* __restrict__ y, const SurroundParams& p) {
    FOR_PLANE((unsigned long long)p.height * p.width) {
        const unsigned r = i / p.width, c = i % p.width;
        const unsigned long long at =
            (unsigned long long)cosine_source(r, p.height) * p.width + cosine_source(c, p.width);
        if (BACK) {
            y[at] = x[i];
        } else {
            y[i] = x[at];
        }
    }
}

// X[k, l] = Re(w1 (w2 V[k, l] + conj(w2) conj(V[-k, l]))) / 2, times gain, added to y or not.
template <typename T>
__device__ void cosine_from_spectrum(const Complex<T>* __restrict__ v, const T* __restrict__ gain, T* __restrict__ y,
                                     const Complex<T>* __restrict__ row_quarter,
                                     const Complex<T>* __restrict__ column_quarter, const SurroundParams& p) {
    const unsigned half = p.width / 2 + 1;
    FOR_PLANE((unsigned long long)p.height * p.width) {
        const unsigned k = i / p.width, l = i % p.width, back = k == 0 ? 0 : p.height - k;
        const bool lower = l < half;
        const unsigned at = lower ? l : p.width - l;
        Complex<T> a = v[(unsigned long long)(lower ? k : back) * half + at];
        Complex<T> b = v[(unsigned long long)(lower ? back : k) * half + at];
        // For l beyond the half, V[k, l] = conj(V[-k, W - l]).
        (lower ? b : a).y = -(lower ? b : a).y;
        const Complex<T> w1 = column_quarter[k], w2 = row_quarter[l], back_w2 = {w2.x, -w2.y};
        const Complex<T> s = times(w2, a), t = times(back_w2, b);
        T value = T(0.5) * times(w1, Complex<T>{s.x + t.x, s.y + t.y}).x;
        if (p.flags & GAIN) value *= gain[i];
        y[i] = p.flags & ADD ? y[i] + value : value;
    }
}

// V[k, l] = conj(w1) conj(w2) (X[k, l] - X[-k, -l] - i (X[-k, l] + X[k, -l])), X = 0 beyond the edges.
template <typename T>
__device__ void spectrum_from_cosine(const T* __restrict__ x, const T* __restrict__ gain, Complex<T>* __restrict__ v,
                                     const Complex<T>* __restrict__ row_quarter,
                                     const Complex<T>* __restrict__ column_quarter, const SurroundParams& p) {
    const unsigned half = p.width / 2 + 1;
    auto at = [&](unsigned k, unsigned l) -> T {
        if (k == p.height || l == p.width) return T(0);
        const unsigned long long j = (unsigned long long)k * p.width + l;
        return p.flags & GAIN ? x[j] * gain[j] : x[j];
    };
    FOR_PLANE((unsigned long long)p.height * half) {
        const unsigned k = i / half, l = i % half, bk = p.height - k, bl = p.width - l;
        const Complex<T> sum = {at(k, l) - at(bk, bl), -(at(bk, l) + at(k, bl))};
        const Complex<T> w1 = column_quarter[k], w2 = row_quarter[l];
        v[i] = times(times(Complex<T>{w1.x, -w1.y}, Complex<T>{w2.x, -w2.y}), sum);
    }
}

template <typename T>
__device__ void scale_spectrum(const Complex<T>* __restrict__ x, Complex<T>* __restrict__ y, const SurroundParams& p) {
    const T scale = T(p.scale);
    FOR_PLANE((unsigned long long)p.height * (p.width / 2 + 1)) {
        y[i] = {scale * x[i].x, scale * x[i].y};
    }
}

// y[s] = gain[s] z for every plane s of a tree.
template <typename T>
__device__ void spread_spectrum(const T* __restrict__ gains, const Complex<T>* __restrict__ z,
                                Complex<T>* __restrict__ y, const SurroundParams& p) {
    const unsigned long long plane = (unsigned long long)p.height * (p.width / 2 + 1);
    FOR_PLANE(plane) {
        const Complex<T> c = z[i];
        for (unsigned s = 0; s < p.bands; ++s) y[s * plane + i] = {gains[s * plane + i] * c.x, gains[s * plane + i] * c.y};
    }
}

// z = sum over s of gain[s] x[s], in order, or that added to z.
template <typename T>
__device__ void gather_spectrum(const T* __restrict__ gains, const Complex<T>* __restrict__ x,
                                Complex<T>* __restrict__ z, const SurroundParams& p) {
    const unsigned long long plane = (unsigned long long)p.height * (p.width / 2 + 1);
    FOR_PLANE(plane) {
        Complex<T> sum = p.flags & ADD ? z[i] : Complex<T>{0, 0};
        for (unsigned s = 0; s < p.bands; ++s) {
            const Complex<T> c = x[s * plane + i];
            const T g = gains[s * plane + i];
            sum = {fused(g, c.x, sum.x), fused(g, c.y, sum.y)};
        }
        z[i] = sum;
    }
}

#define SURROUND(T, NAME)                                                                                             \
    extern "C" __global__ void reorder_##NAME(const T* x, T* y, SurroundParams p) { reorder<T, false>(x, y, p); }     \
    extern "C" __global__ void reorder_back_##NAME(const T* x, T* y, SurroundParams p) { reorder<T, true>(x, y, p); } \
    extern "C" __global__ void cosine_from_spectrum_##NAME(const Complex<T>* v, const T* gain, T* y,                  \
                                                           const Complex<T>* row_quarter,                             \
                                                           const Complex<T>* column_quarter, SurroundParams p) {      \
        cosine_from_spectrum(v, gain, y, row_quarter, column_quarter, p);                                             \
    }                                                                                                                 \
    extern "C" __global__ void spectrum_from_cosine_##NAME(const T* x, const T* gain, Complex<T>* v,                  \
                                                           const Complex<T>* row_quarter,                             \
                                                           const Complex<T>* column_quarter, SurroundParams p) {      \
        spectrum_from_cosine(x, gain, v, row_quarter, column_quarter, p);                                             \
    }                                                                                                                 \
    extern "C" __global__ void scale_spectrum_##NAME(const Complex<T>* x, Complex<T>* y, SurroundParams p) {          \
        scale_spectrum(x, y, p);                                                                                      \
    }                                                                                                                 \
    extern "C" __global__ void spread_spectrum_##NAME(const T* gains, const Complex<T>* z, Complex<T>* y,             \
                                                      SurroundParams p) {                                             \
        spread_spectrum(gains, z, y, p);                                                                              \
    }                                                                                                                 \
    extern "C" __global__ void gather_spectrum_##NAME(const T* gains, const Complex<T>* x, Complex<T>* z,             \
                                                      SurroundParams p) {                                             \
        gather_spectrum(gains, x, z, p);                                                                              \
    }

SURROUND(float, f32)
SURROUND(double, f64)
