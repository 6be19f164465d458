use gpu_core::Elem;
use rustfft::FftNum;

/// The element types of the transform: `f32` and `f64`.
pub trait Real:
    Elem
    + FftNum
    + PartialOrd
    + num_complex::ComplexFloat<Real = Self>
    + sealed::Simd
    + sealed::OnDevice
    + crate::fft_cpu::Strips
{
    /// `"f32"` or `"f64"`; also the ending of the type's CUDA symbols.
    const NAME: &'static str;
    /// The nearest value of this type.
    fn of(v: f64) -> Self;
    /// Widened.
    fn to_f64(self) -> f64;
    /// `self * a + b` with one rounding.
    fn fma(self, a: Self, b: Self) -> Self;
}

/// Inner loops that are compiled for several instruction sets and chosen at run time. `mul_add` is a library call on
/// baseline x86-64, so everything that uses it stays behind these functions.
pub(crate) mod sealed {
    use std::cell::Cell;
    use std::thread::LocalKey;

    use num_complex::Complex;

    /// What a device's library of transforms wants of an element type.
    #[cfg(feature = "cuda")]
    #[allow(unreachable_pub, reason = "the public trait `Real` asks for it")]
    pub use gpu_core::cuda::fft::FftReal as OnDevice;

    /// What a device's library of transforms wants of an element type: nothing without the feature `cuda`.
    #[cfg(not(feature = "cuda"))]
    pub trait OnDevice {}
    #[cfg(not(feature = "cuda"))]
    impl OnDevice for f32 {}
    #[cfg(not(feature = "cuda"))]
    impl OnDevice for f64 {}

    /// Inner loops over slices.
    pub trait Simd: Sized + 'static {
        /// A buffer that this thread keeps between calls, so that a large one is not taken from the system each time.
        fn spare() -> &'static LocalKey<Cell<Vec<Self>>>;
        /// The part of `n` that fills whole vectors of every instruction set.
        fn whole_vectors(n: usize) -> usize {
            n - n % (64 / size_of::<Self>())
        }
        /// `acc[i] = Σ_t source[start_t + i] * value_t` in the order of `taps`, from 0, fused.
        fn gather_taps(acc: &mut [Self], source: &[Self], taps: &[(usize, Self)]);
        /// `out[i] = Σ_d coefficients[d] * inputs[d][i]`, fused, from the highest `d` down.
        fn polynomial(out: &mut [Self], inputs: &[&[Self]], coefficients: &[Self]);
        /// `y[i] = a * x[i] + (b * z[i] + y[i])` with `keep`, else `a * x[i] + b * z[i]`, fused.
        fn mix(y: &mut [Self], a: Self, x: &[Self], b: Self, z: &[Self], keep: bool);
        /// `z[i] = (re[i] + i im[i]) * x[i]`; with `im` absent, `re[i] * x[i]`.
        fn gain(z: &mut [Complex<Self>], x: &[Complex<Self>], re: &[Self], im: Option<&[Self]>);
    }

    macro_rules! simd {
        ($t:ident) => {
            mod $t {
                use std::cell::Cell;

                use num_complex::Complex;

                type T = $t;

                thread_local! {
                    pub(super) static SPARE: Cell<Vec<T>> = const { Cell::new(Vec::new()) };
                }

                /// `N` sums, which stay in registers while all taps pass over them.
                #[inline(always)]
                fn gather_block<const N: usize>(acc: &mut [T], source: &[T], taps: &[(usize, T)], at: usize) {
                    let mut sum = [0.0; N];
                    for &(start, value) in taps {
                        let x = &source[start + at..start + at + N];
                        for (s, &x) in sum.iter_mut().zip(x) {
                            *s = x.mul_add(value, *s);
                        }
                    }
                    acc[at..at + N].copy_from_slice(&sum);
                }

                #[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
                pub(super) fn gather_taps(acc: &mut [T], source: &[T], taps: &[(usize, T)]) {
                    const LARGE: usize = 256 / size_of::<T>();
                    const SMALL: usize = 64 / size_of::<T>();
                    let len = acc.len();
                    let mut at = 0;
                    while at + LARGE <= len {
                        gather_block::<LARGE>(acc, source, taps, at);
                        at += LARGE;
                    }
                    while at + SMALL <= len {
                        gather_block::<SMALL>(acc, source, taps, at);
                        at += SMALL;
                    }
                    if at < len && len >= SMALL {
                        // Sums that exist already are made again, with the same bits.
                        gather_block::<SMALL>(acc, source, taps, len - SMALL);
                    } else {
                        for i in at..len {
                            gather_block::<1>(acc, source, taps, i);
                        }
                    }
                }

                #[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
                pub(super) fn polynomial(out: &mut [T], inputs: &[&[T]], coefficients: &[T]) {
                    let len = out.len();
                    let top = inputs.len() - 1;
                    let c = coefficients[top];
                    for (o, &x) in out.iter_mut().zip(&inputs[top][..len]) {
                        *o = c * x;
                    }
                    for d in (0..top).rev() {
                        let c = coefficients[d];
                        for (o, &x) in out.iter_mut().zip(&inputs[d][..len]) {
                            *o = c.mul_add(x, *o);
                        }
                    }
                }

                #[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
                pub(super) fn mix(y: &mut [T], a: T, x: &[T], b: T, z: &[T], keep: bool) {
                    if keep {
                        for ((y, &x), &z) in y.iter_mut().zip(x).zip(z) {
                            *y = a.mul_add(x, b.mul_add(z, *y));
                        }
                    } else {
                        for ((y, &x), &z) in y.iter_mut().zip(x).zip(z) {
                            *y = a.mul_add(x, b * z);
                        }
                    }
                }

                #[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
                pub(super) fn gain(z: &mut [Complex<T>], x: &[Complex<T>], re: &[T], im: Option<&[T]>) {
                    if let Some(im) = im {
                        for (((z, x), &g), &h) in z.iter_mut().zip(x).zip(re).zip(im) {
                            z.re = g * x.re - h * x.im;
                            z.im = g * x.im + h * x.re;
                        }
                    } else {
                        for ((z, x), &g) in z.iter_mut().zip(x).zip(re) {
                            z.re = g * x.re;
                            z.im = g * x.im;
                        }
                    }
                }
            }

            impl Simd for $t {
                fn spare() -> &'static LocalKey<Cell<Vec<Self>>> {
                    &$t::SPARE
                }
                fn gather_taps(acc: &mut [Self], source: &[Self], taps: &[(usize, Self)]) {
                    $t::gather_taps(acc, source, taps);
                }
                fn polynomial(out: &mut [Self], inputs: &[&[Self]], coefficients: &[Self]) {
                    $t::polynomial(out, inputs, coefficients);
                }
                fn mix(y: &mut [Self], a: Self, x: &[Self], b: Self, z: &[Self], keep: bool) {
                    $t::mix(y, a, x, b, z, keep);
                }
                fn gain(z: &mut [Complex<Self>], x: &[Complex<Self>], re: &[Self], im: Option<&[Self]>) {
                    $t::gain(z, x, re, im);
                }
            }
        };
    }
    simd!(f32);
    simd!(f64);
}

/// Runs `f` with a buffer of `len` elements of unspecified contents, which this thread keeps for the next call.
pub(crate) fn with_spare<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // Taken out for the time of the call: if `f` waits for other threads' work and meanwhile begins another call here,
    // that one finds nothing and makes its own.
    let mut spare = T::spare().take();
    if spare.len() < len {
        spare.resize(len, T::of(0.0));
    }
    let result = f(&mut spare[..len]);
    T::spare().set(spare);
    result
}

macro_rules! real {
    ($($t:ident),*) => { $(
        impl Real for $t {
            const NAME: &'static str = stringify!($t);
            fn of(v: f64) -> Self {
                v as $t
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn fma(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
        }
    )* };
}
real!(f32, f64);
