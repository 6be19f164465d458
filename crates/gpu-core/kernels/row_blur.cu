// y[r, c] = sum_k w[k] x[r, mirrored(c + k - radius)]; see tests/pages/row_blur.rs.
#include "lockstep.cuh"

struct RowBlurParams {
    unsigned height, width, radius;
};
LOCKSTEP_PARAMS(RowBlurParams, 12);

// One block filters one piece of a row, which it first brings into shared memory with its surroundings:
// (blockDim.x + 2 * radius) floats of dynamic shared memory. Rows are taken in turns when there are more than blocks.
extern "C" __global__ void row_blur_f32(const float* x, const float* w, float* y, RowBlurParams p) {
    using namespace lockstep;
    extern __shared__ float piece[];
    const int64 radius = p.radius, width = p.width;
    const int64 start = int64(blockIdx.x) * blockDim.x;
    const int64 column = start + threadIdx.x;
    for (uint64 row = blockIdx.y; row < p.height; row += gridDim.y) {
        const float* in = x + row * p.width;
        for (int64 i = threadIdx.x; i < blockDim.x + 2 * radius; i += blockDim.x) {
            piece[i] = in[mirrored<int64>(start + i - radius, width)];
        }
        __syncthreads();
        if (column < width) {
            float sum = 0;
            for (int64 k = 0; k <= 2 * radius; ++k) sum = fused(w[k], piece[threadIdx.x + k], sum);
            y[row * p.width + column] = sum;
        }
        __syncthreads();
    }
}
