//! The loops of [`lanes`] and [`strips`], compiled for several instruction sets and chosen at run time.

use num_complex::Complex;

use super::lanes::{self, LanePlan};
use super::strips::{self, Frequency, Rows};
use crate::Real;

/// A type whose strips can be transformed.
pub trait Strips: Sized {
    /// Columns of a strip: 64 bytes of real parts.
    const LANES: usize;
    #[doc(hidden)]
    fn transform(strip: &mut [Self], plan: &LanePlan<Self>);
    #[doc(hidden)]
    fn load_spectrum(
        strips: &mut [Self],
        first: usize,
        width: usize,
        z: &[Complex<Self>],
        gain: Option<&[Self]>,
        scale: Self,
    );
    #[doc(hidden)]
    fn load_pairs(strips: &mut [Self], first: usize, width: usize, x: &[Self], order: &[usize]);
    #[doc(hidden)]
    fn load_cosines(
        strips: &mut [Self],
        first: usize,
        width: usize,
        x: &[Self],
        gain: Option<&[Self]>,
        quarter: &[Complex<Self>],
    );
    #[doc(hidden)]
    fn line_from_half(
        line: &mut [Complex<Self>],
        buffers: [&mut [Self]; 4],
        rows: Rows<'_, Self>,
        u: usize,
        v: Option<usize>,
    );
    #[doc(hidden)]
    fn split_line(line: &[Complex<Self>], re: &mut [Self], im: Option<&mut [Self]>);
    #[doc(hidden)]
    fn line_from_pairs(
        line: &mut [Complex<Self>],
        buffers: [&mut [Self]; 4],
        rows: Rows<'_, Self>,
        k: usize,
        minus_k: usize,
    );
    #[doc(hidden)]
    fn store_half(
        z: &mut [Complex<Self>],
        line: &[Complex<Self>],
        mirrored: bool,
        scale: Self,
        gain: Option<&[Self]>,
        keep: bool,
    );
    #[doc(hidden)]
    fn line_from_cosines(
        line: &mut [Complex<Self>],
        buffers: [&mut [Self]; 6],
        rows: Rows<'_, Self>,
        one: Frequency<Self>,
        two: Option<Frequency<Self>>,
    );
    #[doc(hidden)]
    fn store_cosines(
        line: &[Complex<Self>],
        quarter: &[Complex<Self>],
        scale: Self,
        keep: bool,
        first: (&mut [Self], Option<&[Self]>),
        second: Option<(&mut [Self], Option<&[Self]>)>,
    );
    #[doc(hidden)]
    fn line_to_cosines(
        line: &mut [Complex<Self>],
        buffers: [&mut [Self]; 4],
        quarter: &[Complex<Self>],
        rows: Rows<'_, Self>,
        u: usize,
        v: Option<usize>,
    );
    #[doc(hidden)]
    fn split_reordered(line: &[Complex<Self>], re: &mut [Self], im: Option<&mut [Self]>);
}

/// One instruction-set dispatch a function; the bodies are inlined into each version.
macro_rules! dispatch {
    ($t:ident, $lanes:literal; $( $name:ident ( $($arg:ident : $type:ty),* $(,)? ) = $body:expr );* $(;)?) => {
        impl Strips for $t {
            const LANES: usize = $lanes;
            $(
                fn $name($($arg: $type),*) {
                    #[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
                    fn $name($($arg: $type),*) {
                        ($body)($($arg),*);
                    }
                    $name($($arg),*);
                }
            )*
        }
    };
}

macro_rules! strips {
    ($t:ident, $lanes:literal, $row:literal) => {
        dispatch! { $t, $lanes;
            transform(strip: &mut [$t], plan: &LanePlan<$t>) = lanes::transform::<$t, $row>;
            load_spectrum(
                strips: &mut [$t], first: usize, width: usize, z: &[Complex<$t>], gain: Option<&[$t]>, scale: $t,
            ) = strips::load_spectrum::<$t, $row>;
            load_pairs(strips: &mut [$t], first: usize, width: usize, x: &[$t], order: &[usize])
                = strips::load_pairs::<$t, $row>;
            load_cosines(
                strips: &mut [$t], first: usize, width: usize, x: &[$t], gain: Option<&[$t]>, quarter: &[Complex<$t>],
            ) = strips::load_cosines::<$t, $row>;
            line_from_half(
                line: &mut [Complex<$t>], buffers: [&mut [$t]; 4], rows: Rows<'_, $t>, u: usize, v: Option<usize>,
            ) = strips::line_from_half::<$t, $row>;
            split_line(line: &[Complex<$t>], re: &mut [$t], im: Option<&mut [$t]>) = strips::split_line::<$t>;
            line_from_pairs(
                line: &mut [Complex<$t>], buffers: [&mut [$t]; 4], rows: Rows<'_, $t>, k: usize, minus_k: usize,
            ) = strips::line_from_pairs::<$t, $row>;
            store_half(
                z: &mut [Complex<$t>], line: &[Complex<$t>], mirrored: bool, scale: $t, gain: Option<&[$t]>, keep: bool,
            ) = strips::store_half::<$t>;
            line_from_cosines(
                line: &mut [Complex<$t>], buffers: [&mut [$t]; 6], rows: Rows<'_, $t>, one: Frequency<$t>,
                two: Option<Frequency<$t>>,
            ) = strips::line_from_cosines::<$t, $row>;
            store_cosines(
                line: &[Complex<$t>], quarter: &[Complex<$t>], scale: $t, keep: bool,
                first: (&mut [$t], Option<&[$t]>), second: Option<(&mut [$t], Option<&[$t]>)>,
            ) = strips::store_cosines::<$t>;
            line_to_cosines(
                line: &mut [Complex<$t>], buffers: [&mut [$t]; 4], quarter: &[Complex<$t>], rows: Rows<'_, $t>,
                u: usize, v: Option<usize>,
            ) = strips::line_to_cosines::<$t, $row>;
            split_reordered(line: &[Complex<$t>], re: &mut [$t], im: Option<&mut [$t]>)
                = strips::split_reordered::<$t>;
        }
    };
}
strips!(f32, 16, 32);
strips!(f64, 8, 16);

/// Everything that a strip needs of its element type.
pub(crate) const fn row_len<T: Real>() -> usize {
    2 * T::LANES
}
