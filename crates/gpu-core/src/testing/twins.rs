use half::{bf16, f16};

use super::{Comparison, Tolerance, Value, compare};
use crate::{Backend, Error, Result, Tensor};

/// One array that an operation produced, in its own element type.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Double precision.
    F64(Vec<usize>, Vec<f64>),
    /// Single precision.
    F32(Vec<usize>, Vec<f32>),
    /// Half precision.
    F16(Vec<usize>, Vec<f16>),
    /// Brain floating point.
    Bf16(Vec<usize>, Vec<bf16>),
    /// Signed integers.
    I32(Vec<usize>, Vec<i32>),
    /// Unsigned integers.
    U32(Vec<usize>, Vec<u32>),
    /// Bytes.
    U8(Vec<usize>, Vec<u8>),
}

/// All arrays that an operation produced, in a fixed order.
pub type Outputs = Vec<Output>;

/// Element types that an [`Output`] can hold.
pub trait Twin: Value {
    /// Wraps an array.
    fn output(shape: Vec<usize>, values: Vec<Self>) -> Output;
}

macro_rules! twin {
    ($($t:ty => $v:ident),*) => { $(
        impl Twin for $t {
            fn output(shape: Vec<usize>, values: Vec<Self>) -> Output {
                Output::$v(shape, values)
            }
        }
    )* };
}
twin!(f64 => F64, f32 => F32, f16 => F16, bf16 => Bf16, i32 => I32, u32 => U32, u8 => U8);

macro_rules! each {
    ($self:expr, ($shape:pat, $values:pat) => $body:expr) => {
        match $self {
            Output::F64($shape, $values) => $body,
            Output::F32($shape, $values) => $body,
            Output::F16($shape, $values) => $body,
            Output::Bf16($shape, $values) => $body,
            Output::I32($shape, $values) => $body,
            Output::U32($shape, $values) => $body,
            Output::U8($shape, $values) => $body,
        }
    };
}

fn against<T: Value>(got: &[T], wanted: &Output, tolerance: Tolerance) -> Comparison {
    let wanted: Vec<T> = each!(wanted, (_, values) => values.iter().map(|v| T::from_f64(v.to_f64())).collect());
    compare(got, &wanted, tolerance)
}

impl Output {
    /// Downloads a tensor.
    pub fn of<B: Backend, T: Twin, const R: usize>(b: &B, tensor: &Tensor<B, T, R>) -> Result<Self> {
        Ok(T::output(tensor.shape().to_vec(), tensor.to_vec(b)?))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, (_, values) => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        each!(self, (shape, _) => shape)
    }

    /// The bytes, to compare to the bit.
    pub fn bytes(&self) -> &[u8] {
        each!(self, (_, values) => bytemuck::cast_slice(values))
    }

    /// Compares with what is wanted, rounded to this output's type first.
    ///
    /// # Errors
    /// When the lengths differ, which is a mistake in the test or a wrong shape from the operation.
    pub fn compare(&self, wanted: &Self, tolerance: Tolerance) -> Result<Comparison> {
        if self.len() != wanted.len() {
            return Err(Error::shape("output", wanted.shape(), self.shape()));
        }
        Ok(each!(self, (_, values) => against(values, wanted, tolerance)))
    }
}

/// Property tests that prove a kernel's implementations equal.
///
/// ```text
/// twins! {
///     kernels = ["scale_f32"];
///     /// powers of two and small integers: every product is exact
///     scale_exact: case(Fill::exact()), Case => |b, c| run(b, c), oracle = oracle::scale, tolerance = Tolerance::EXACT;
///     /// one rounding against the exact product; both twins round the same way
///     scale_close: case(Fill::any()), Case => |b, c| run(b, c), oracle = oracle::scale,
///         tolerance = Tolerance::ulps(1), twins = Tolerance::EXACT;
/// }
/// ```
/// Each entry becomes a module with the tests `cpu_matches_oracle`, `cpu_is_deterministic` (1, 2 and all threads) and,
/// under the feature `cuda` of the crate that uses the macro, `cuda_matches_cpu`, `cuda_is_deterministic` and
/// `cuda_on_forked_queue`, which are ignored on a machine without a GPU. `tolerance` is for the CPU against the oracle
/// and, unless `twins` is given, for CUDA against the CPU. The function gives `Result<Outputs>`, the oracle `Outputs`.
///
/// `LOCKSTEP_CASES` sets the number of cases (64), `LOCKSTEP_REPEATS` another one for `cuda_is_deterministic` and
/// `cuda_on_forked_queue`, `LOCKSTEP_SEED` a seed or `random`.
#[macro_export]
macro_rules! twins {
    (kernels = [$($kernel:literal),* $(,)?]; $($rest:tt)*) => {
        $crate::twins!(@entries [$($kernel),*] $($rest)*);
    };
    (@entries [$($kernel:literal),*]) => {};
    (@entries [$($kernel:literal),*]
        $(#[$doc:meta])*
        $name:ident: $strategy:expr, $case:ty => |$b:ident, $c:ident| $run:expr, oracle = $oracle:expr,
        tolerance = $tolerance:expr $(, twins = $twins:expr)?;
        $($rest:tt)*
    ) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::testing::{Bound, Outputs, Proof, Record};

            const KERNELS: &[&str] = &[$($kernel),*];

            #[allow(dead_code)]
            fn allowed_between_twins(case: &$case) -> $crate::testing::Tolerance {
                let all = [$(Bound::<$case>::for_case(&$twins, case),)? Bound::<$case>::for_case(&$tolerance, case)];
                all[0]
            }

            fn on_cpu($b: &$crate::Cpu, $c: &$case) -> $crate::Result<Outputs> {
                $run
            }

            fn record(proof: Proof) -> Record {
                Record {
                    package: env!("CARGO_PKG_NAME"), entry: stringify!($name), kernels: KERNELS, proof, cases: 0,
                    worst: Default::default(), allowed: None, cpu_seconds: 0.0, cuda_seconds: 0.0,
                    device: String::new(),
                }
            }

            #[test]
            fn cpu_matches_oracle() {
                $crate::testing::prove::oracle(file!(), record(Proof::CpuMatchesOracle), $strategy, on_cpu,
                    |c: &$case| $oracle(c), |c: &$case| Bound::<$case>::for_case(&$tolerance, c));
            }

            #[test]
            fn cpu_is_deterministic() {
                $crate::testing::prove::threads(file!(), record(Proof::CpuIsDeterministic), $strategy, on_cpu);
            }

            #[cfg(feature = "cuda")]
            fn on_cuda($b: &$crate::Cuda, $c: &$case) -> $crate::Result<Outputs> {
                $run
            }

            #[cfg(feature = "cuda")]
            #[test]
            #[ignore = "needs a CUDA device"]
            fn cuda_matches_cpu() {
                $crate::testing::prove::twins(file!(), record(Proof::CudaMatchesCpu), $strategy, on_cpu, on_cuda,
                    allowed_between_twins);
            }

            #[cfg(feature = "cuda")]
            #[test]
            #[ignore = "needs a CUDA device"]
            fn cuda_is_deterministic() {
                $crate::testing::prove::repeats(file!(), record(Proof::CudaIsDeterministic), $strategy, on_cuda);
            }

            #[cfg(feature = "cuda")]
            #[test]
            #[ignore = "needs a CUDA device"]
            fn cuda_on_forked_queue() {
                $crate::testing::prove::forked(file!(), record(Proof::CudaOnForkedQueue), $strategy, on_cuda);
            }
        }
        $crate::twins!(@entries [$($kernel),*] $($rest)*);
    };
}
