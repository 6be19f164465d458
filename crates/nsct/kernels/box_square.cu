// Mean of squares in a window around each pixel; see src/kernels/box_square.rs.
#include "nsct.cuh"

constexpr int kTile = 32;      // outputs of a block on each axis
constexpr int kMaxHalf = 8;    // twin of MAX_HALF_WINDOW
constexpr int kReach = kTile + 2 * kMaxHalf;

struct BoxSquareParams {
    unsigned count, height, width, half;
    unsigned long long x_stride, y_stride;
};

template <typename T>
__device__ void box_square(const T* __restrict__ x, T* __restrict__ y, const BoxSquareParams& p) {
    __shared__ T squares[kReach][kReach];
    __shared__ T sums[kReach][kTile];
    const int half = p.half, window = 2 * half + 1, reach = kTile + 2 * half;
    const int top = blockIdx.y * kTile, left = blockIdx.x * kTile;
    const T size = T(window * window);
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* plane = x + n * p.x_stride;
        for (int i = threadIdx.y; i < reach; i += blockDim.y) {
            const T* line = plane + (unsigned long long)mirrored((long long)top + i - half, p.height) * p.width;
            for (int j = threadIdx.x; j < reach; j += blockDim.x) {
                const T v = line[mirrored((long long)left + j - half, p.width)];
                squares[i][j] = v * v;
            }
        }
        __syncthreads();
        for (int i = threadIdx.y; i < reach; i += blockDim.y) {
            T sum = 0;
            for (int j = 0; j < window; ++j) sum = sum + squares[i][threadIdx.x + j];
            sums[i][threadIdx.x] = sum;
        }
        __syncthreads();
        const unsigned c = left + threadIdx.x;
        for (int i = threadIdx.y; i < kTile; i += blockDim.y) {
            const unsigned r = top + i;
            if (r >= p.height || c >= p.width) continue;
            T sum = 0;
            for (int k = 0; k < window; ++k) sum = sum + sums[i + k][threadIdx.x];
            y[n * p.y_stride + (unsigned long long)r * p.width + c] = sum / size;
        }
        // The next plane overwrites what is being read here.
        __syncthreads();
    }
}

extern "C" __global__ void box_square_f32(const float* x, float* y, BoxSquareParams p) { box_square(x, y, p); }
extern "C" __global__ void box_square_f64(const double* x, double* y, BoxSquareParams p) { box_square(x, y, p); }
