// Order between blocks, and between lanes, by flags: each correct kernel stands beside those that lack something.
#define KERNEL extern "C" __global__ void

// The last block sums what all blocks wrote, and resets what they read.
enum { kGood, kNoFence, kBlockFence, kEarlyFence, kNoBarrier };
template <int kHow>
__device__ void ticket(float* part, int* count, float* out, int* scale) {
    __shared__ bool last;
    int t = threadIdx.x;
    float v = t * scale[0];
    if (kHow == kEarlyFence) __threadfence();
    part[blockIdx.x * blockDim.x + t] = v;
    if (kHow == kGood) __threadfence();
    if (kHow == kBlockFence) __threadfence_block();
    if (kHow != kNoBarrier) __syncthreads();
    if (t == 0) {
        if (kHow == kNoBarrier) __threadfence();
        last = atomicAdd(count, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    float s = 0;
    for (int b = 0; b < gridDim.x; b++) s += part[b * blockDim.x + t];
    out[t] = s;
    if (t == 0) {
        *count = 0;
        scale[0] = 7;
    }
}
KERNEL ticket_good(float* part, int* count, float* out, int* scale) { ticket<kGood>(part, count, out, scale); }
KERNEL ticket_no_fence(float* part, int* count, float* out, int* scale) { ticket<kNoFence>(part, count, out, scale); }
KERNEL ticket_block_fence(float* part, int* count, float* out, int* scale) {
    ticket<kBlockFence>(part, count, out, scale);
}
KERNEL ticket_early_fence(float* part, int* count, float* out, int* scale) {
    ticket<kEarlyFence>(part, count, out, scale);
}
KERNEL ticket_no_barrier(float* part, int* count, float* out, int* scale) {
    ticket<kNoBarrier>(part, count, out, scale);
}

// Every thread takes a ticket; the last of all resets what all have read.
template <bool kFence>
__device__ void tickets(int* count, int* out, int* scale) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = scale[0];
    if (kFence) __threadfence();
    if (atomicAdd(count, 1) != gridDim.x * blockDim.x - 1) return;
    if (kFence) __threadfence();
    scale[0] = out[0] + 7;
}
KERNEL tickets_good(int* count, int* out, int* scale) { tickets<true>(count, out, scale); }
KERNEL tickets_bad(int* count, int* out, int* scale) { tickets<false>(count, out, scale); }

// A counter alone is ordered by itself: the last one that counted may reset it.
KERNEL wraps_good(int* count, int* out) {
    if (atomicAdd(count, 1) == gridDim.x * blockDim.x - 1) {
        *count = 0;
        *out = 1;
    }
}
KERNEL wraps_bad(int* count, int* out) {
    int before = atomicAdd(count, 1);
    if (before == gridDim.x * blockDim.x / 2) {
        *count = 0;
        *out = 1;
    }
}

// A barrier of the grid, by hand.
template <bool kFence, bool kBarrier>
__device__ void all_blocks(volatile unsigned* count, unsigned target) {
    __syncthreads();
    if (threadIdx.x == 0) {
        if (kFence) __threadfence();
        atomicAdd((unsigned*)count, 1);
        while (*count < target);
        if (kFence) __threadfence();
    }
    if (kBarrier) __syncthreads();
}
template <bool kFence, bool kBarrier>
__device__ void smooth(float* x, unsigned* count, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned k = 0; k < 2; k++) {
        float a = x[(i + 1) % n] + x[(i + n - 1) % n];
        all_blocks<kFence, kBarrier>(count, (2 * k + 1) * gridDim.x);
        x[i] = a;
        all_blocks<kFence, true>(count, (2 * k + 2) * gridDim.x);
    }
}
KERNEL smooth_good(float* x, unsigned* count, int n) { smooth<true, true>(x, count, n); }
KERNEL smooth_no_fence(float* x, unsigned* count, int n) { smooth<false, true>(x, count, n); }
KERNEL smooth_no_barrier(float* x, unsigned* count, int n) { smooth<true, false>(x, count, n); }

template <bool kFence>
__device__ void first_for_all(float* x, unsigned* count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float a = x[0];
    all_blocks<kFence, true>(count, gridDim.x);
    x[i] = a + 1;
}
KERNEL first_for_all_good(float* x, unsigned* count) { first_for_all<true>(x, count); }
KERNEL first_for_all_bad(float* x, unsigned* count) { first_for_all<false>(x, count); }

// A lock that one lane of each warp takes.
template <bool kFence>
__device__ void locked(int* lock, int* data) {
    if (threadIdx.x % 32 != 0) return;
    while (atomicCAS(lock, 0, 1));
    if (kFence) __threadfence();
    data[0] += 1;
    if (kFence) __threadfence();
    atomicExch(lock, 0);
}
KERNEL locked_good(int* lock, int* data) { locked<true>(lock, data); }
KERNEL locked_bad(int* lock, int* data) { locked<false>(lock, data); }

// A lock that every lane takes in turn.
template <bool kFence>
__device__ void locked_lanes(int* lock, int* data) {
    for (bool done = false; !done;) {
        if (atomicCAS(lock, 0, 1) == 0) {
            if (kFence) __threadfence();
            data[0] += 1;
            if (kFence) __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}
KERNEL locked_lanes_good(int* lock, int* data) { locked_lanes<true>(lock, data); }
KERNEL locked_lanes_bad(int* lock, int* data) { locked_lanes<false>(lock, data); }

// What is written behind the release is not released.
template <bool kAfter>
__device__ void handed(float* x, unsigned* flag, float* out) {
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) {
        x[0] = 1;
        __threadfence();
        atomicExch(flag, 1u);
        if (kAfter) x[0] = 2;
    } else {
        while (atomicAdd(flag, 0) == 0);
        __threadfence();
        out[blockIdx.x] = x[0];
    }
}
KERNEL handed_good(float* x, unsigned* flag, float* out) { handed<false>(x, flag, out); }
KERNEL handed_bad(float* x, unsigned* flag, float* out) { handed<true>(x, flag, out); }

// The waiting thread takes the flag back without an atomic: it has seen it.
KERNEL taken_back_good(int* flag, int* data) {
    if (blockIdx.x == 0) {
        data[0] = 42;
        __threadfence();
        *(volatile int*)flag = 1;
    } else {
        while (*(volatile int*)flag == 0);
        __threadfence();
        *flag = 0;
        data[1] = data[0];
    }
}
KERNEL taken_back_bad(int* flag, int* data) {
    if (blockIdx.x == 0) {
        data[0] = 42;
        __threadfence();
        *(volatile int*)flag = 1;
    } else {
        *flag = 0;
    }
}

KERNEL scope_good(int* count) { atomicAdd(count, 1); }
KERNEL scope_bad(int* count) { atomicAdd_block(count, 1); }
