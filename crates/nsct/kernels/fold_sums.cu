// Figures of planes from those of their chunks; see src/kernels/fold_sums.rs.
#include "nsct.cuh"
#include "sums.cuh"

struct FoldSumsParams {
    unsigned count, chunks;
};

extern "C" __global__ void fold_sums(const double* chunks, double* sums, FoldSumsParams p) {
    for (unsigned n = blockIdx.x; n < p.count; n += gridDim.x) {
        const double* plane = chunks + (unsigned long long)n * p.chunks * 4;
        Figures own = {0, 0, 0, 0};
        for (unsigned i = threadIdx.x; i < p.chunks; i += kLanes) {
            const double* f = plane + (unsigned long long)i * 4;
            own.add(f[0], f[1], f[2], f[3]);
        }
        fold(own, sums + (unsigned long long)n * 4);
    }
}
