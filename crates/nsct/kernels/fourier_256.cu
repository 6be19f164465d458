// Lines of 256 elements.
#define LENGTH 256
#include "fourier_kernels.cuh"
