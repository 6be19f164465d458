// Barriers that count arrivals and bytes, and the copies that bring these; sm_90. Correct kernels stand beside those
// that leave out one step.
#define KERNEL extern "C" __global__ void

using Barrier = unsigned long long;

__device__ __forceinline__ unsigned place(const void* at) { return __cvta_generic_to_shared(at); }
__device__ __forceinline__ void init(Barrier* b, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(place(b)), "r"(count) : "memory");
}
__device__ __forceinline__ void invalidate(Barrier* b) {
    asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(place(b)) : "memory");
}
__device__ __forceinline__ Barrier arrive(Barrier* b) {
    Barrier state;
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 %0, [%1];" : "=l"(state) : "r"(place(b)) : "memory");
    return state;
}
__device__ __forceinline__ void arrive_relaxed(Barrier* b) {
    asm volatile("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];" ::"r"(place(b)) : "memory");
}
__device__ __forceinline__ void expect(Barrier* b, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(place(b)), "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void wait(Barrier* b, unsigned parity) {
    asm volatile(
        "{\n.reg .pred p;\nAGAIN:\nmbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1;\n@!p bra AGAIN;\n}"
        ::"r"(place(b)), "r"(parity) : "memory");
}
__device__ __forceinline__ bool test(Barrier* b, Barrier state) {
    unsigned done;
    asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done) : "r"(place(b)), "l"(state) : "memory");
    return done;
}
__device__ __forceinline__ void load(void* to, const void* from, unsigned bytes, Barrier* b) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     place(to)), "l"(from), "r"(bytes), "r"(place(b)) : "memory");
}
__device__ __forceinline__ void store(void* to, const void* from, unsigned bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\ncp.async.bulk.commit_group;" ::"l"(to),
                 "r"(place(from)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ __forceinline__ void wait_written() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
__device__ __forceinline__ void show_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Threads meet twice at a barrier of 64.
template <bool kRelease, bool kWait>
__device__ void meet(int* out) {
    __shared__ Barrier b;
    __shared__ int s[64];
    int t = threadIdx.x;
    if (t == 0) init(&b, 64);
    __syncthreads();
    for (int round = 0; round < 2; round++) {
        s[t] = t + round;
        Barrier state = 0;
        if (kRelease) state = arrive(&b);
        else arrive_relaxed(&b);
        if (kWait) {
            if (kRelease) while (!test(&b, state)) {}
            else wait(&b, 0);
        }
        out[t] = s[63 - t];
        __syncthreads();
    }
    if (t == 0) invalidate(&b);
}
KERNEL meet_good(int* out) { meet<true, true>(out); }
KERNEL meet_relaxed(int* out) { meet<false, true>(out); }
KERNEL meet_no_wait(int* out) { meet<true, false>(out); }

// Others use the barrier before it is there.
KERNEL no_start(int* out) {
    __shared__ Barrier b;
    if (threadIdx.x == 0) init(&b, 64);
    arrive(&b);
    out[threadIdx.x] = 1;
}
KERNEL touched(int* out) {
    __shared__ Barrier b;
    if (threadIdx.x == 0) init(&b, 1);
    __syncthreads();
    out[threadIdx.x] = b;
}
KERNEL too_many(int* out) {
    __shared__ Barrier b;
    if (threadIdx.x == 0) init(&b, 2);
    __syncthreads();
    if (threadIdx.x == 0) asm volatile("mbarrier.arrive.shared.b64 _, [%0], 3;" ::"r"(place(&b)));
}

// One tile comes; whoever reads it waits for it.
template <unsigned kBytes, bool kWait, bool kSecond>
__device__ void one(const int* in, int* out) {
    __shared__ Barrier b;
    __shared__ alignas(16) int s[64];
    int t = threadIdx.x;
    if (t == 0) init(&b, 1);
    __syncthreads();
    if (t == 0) {
        expect(&b, kBytes);
        load(s, in, 256, &b);
    }
    if (kWait && (kSecond || t < 32)) wait(&b, 0);
    out[t] = s[t];
}
KERNEL one_good(const int* in, int* out) { one<256, true, true>(in, out); }
KERNEL one_no_wait(const int* in, int* out) { one<256, false, false>(in, out); }
KERNEL one_second(const int* in, int* out) { one<256, true, false>(in, out); }
KERNEL one_bytes(const int* in, int* out) { one<272, true, true>(in, out); }

// A warp brings tiles to two stages, two others add them up.
template <bool kEmpty, bool kFree>
__device__ void pipeline(const float* in, float* out, int tiles) {
    __shared__ alignas(16) float s[2][64];
    __shared__ Barrier full[2], empty[2];
    int t = threadIdx.x;
    if (t == 0)
        for (int i = 0; i < 2; i++) {
            init(&full[i], 1);
            init(&empty[i], 64);
        }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    __syncthreads();
    if (t >= 64) {
        if (t == 64)
            for (int k = 0; k < tiles; k++) {
                int stage = k & 1, round = k >> 1;
                if (kEmpty && round > 0) wait(&empty[stage], round - 1 & 1);
                expect(&full[stage], 256);
                load(s[stage], in + 64 * k, 256, &full[stage]);
            }
    } else {
        float sum = 0;
        for (int k = 0; k < tiles; k++) {
            int stage = k & 1, round = k >> 1;
            wait(&full[stage], round & 1);
            if (!kFree) arrive(&empty[stage]);
            sum += s[stage][63 - t];
            if (kFree) arrive(&empty[stage]);
        }
        out[t] = sum;
    }
}
KERNEL pipeline_good(const float* in, float* out, int tiles) { pipeline<true, true>(in, out, tiles); }
KERNEL pipeline_no_empty(const float* in, float* out, int tiles) { pipeline<false, true>(in, out, tiles); }
KERNEL pipeline_early(const float* in, float* out, int tiles) { pipeline<true, false>(in, out, tiles); }

// Results leave in one piece, twice through the same place.
template <bool kFence, bool kMeet, bool kRead, bool kEnd>
__device__ void leave(int* out) {
    __shared__ alignas(16) int s[64];
    int t = threadIdx.x;
    for (int k = 0; k < 2; k++) {
        s[t] = t + k;
        if (kFence) show_copies();
        if (kMeet) __syncthreads();
        if (t == 0) {
            store(out + 64 * k, s, 256);
            if (kRead) wait_read();
        }
        __syncthreads();
    }
    if (kEnd && t == 0) wait_written();
}
KERNEL leave_good(int* out) { leave<true, true, true, true>(out); }
KERNEL leave_no_fence(int* out) { leave<false, true, true, true>(out); }
KERNEL leave_no_barrier(int* out) { leave<true, false, true, true>(out); }
KERNEL leave_overwrites(int* out) { leave<true, true, false, true>(out); }
KERNEL leave_ends(int* out) {
    __shared__ alignas(16) int s[64];
    s[threadIdx.x] = 1;
    show_copies();
    __syncthreads();
    if (threadIdx.x == 0) store(out, s, 256);
}

// Small copies of each thread, counted by a barrier.
template <bool kWait>
__device__ void small(const int* in, int* out) {
    __shared__ Barrier b;
    __shared__ int s[64];
    int t = threadIdx.x;
    if (t == 0) init(&b, 64);
    __syncthreads();
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(place(&s[t])), "l"(in + t) : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(place(&b)) : "memory");
    if (kWait) wait(&b, 0);
    out[t] = s[t ^ 1];
}
KERNEL small_good(const int* in, int* out) { small<true>(in, out); }
KERNEL small_no_wait(const int* in, int* out) { small<false>(in, out); }
