use gpu_core::Elem;
use half::f16;

/// The element types of the operations: `f32`, and `f16` as storage.
pub trait Sample: Elem {
    /// `"f32"` or `"f16"`; also the ending of the type's CUDA symbols.
    const NAME: &'static str;
    /// Whether a value computed in `f32` is rounded when it is stored.
    const ROUNDS: bool;
    /// The nearest element; beyond the range of `f16` its largest value, and NaN stays.
    fn nearest(v: f32) -> Self;
    /// Exact.
    fn widened(self) -> f32;
}

impl Sample for f32 {
    const NAME: &'static str = "f32";
    const ROUNDS: bool = false;
    fn nearest(v: f32) -> Self {
        v
    }
    fn widened(self) -> f32 {
        self
    }
}

impl Sample for f16 {
    const NAME: &'static str = "f16";
    const ROUNDS: bool = true;
    fn nearest(v: f32) -> Self {
        Self::from_f32(v.clamp(-65504.0, 65504.0))
    }
    fn widened(self) -> f32 {
        self.to_f32()
    }
}
