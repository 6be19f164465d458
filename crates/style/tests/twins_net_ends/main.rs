//! The 9 x 9 layers of the network plan: the CPU twins against scalar f64 loops, and CUDA against the CPU.

mod first;
mod last;
#[path = "../net_cases/mod.rs"]
mod net_cases;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, Value};
use gpu_core::{Result, Tensor, twins};
use half::f16;
use net_cases::oracle::{self, Images};
use net_cases::*;
use style::kernels::{
    Cut, FirstCall, LastCall, NetElem, NetFirst, NetLast, NetRows, NetScratch, NetWeights, Norm, OutNorm, Sample,
    Scene, Tiles, Window, net_first, net_first_rows, net_last, net_last_rows,
};
use style::mix::Rounding;

twins! {
    kernels = ["net_first_planes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_32_wide: first::kind(false, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_planes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_32_small: first::kind(false, Tiles::Small), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_bytes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_32_wide: first::kind(true, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_bytes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_32_small: first::kind(true, Tiles::Small), Case => |b, c| first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_first_planes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_planes_16: first::kind(false, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_bytes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    first_bytes_16: first::kind(true, Tiles::Wide), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_planes_16_wide", "net_first_bytes_16_wide"];
    /// more tiles than copies of the sums
    large_first_16: cases([33..50, 97..110], 1), Case => |b, c| first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_first_planes_f32"];
    /// exact sums, or one rounding a term
    first_planes_f32:
        starting_with(first::groups(false), of(cases([5..20, 5..20], 2), false, Tiles::Wide)), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}
twins! {
    kernels = ["net_first_bytes_f32"];
    /// exact sums, or one rounding a term
    first_bytes_f32:
        starting_with(
            first::groups(true),
            of(cases([5..20, 5..20], 2), true, Tiles::Wide),
        ), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}

twins! {
    kernels = ["net_last_planes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_32_wide: last::kind(false, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_planes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_32_small: last::kind(false, Tiles::Small), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_32_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_32_wide: last::kind(true, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_32_small"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_32_small: last::kind(true, Tiles::Small), Case => |b, c| last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_last_planes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_planes_16: last::kind(false, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_last_bytes_16_wide"];
    /// exact sums, or the roundings of operands, sums and outputs
    last_bytes_16: last::kind(true, Tiles::Wide), Case => |b, c| last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_last_planes_f32"];
    /// exact sums, or one rounding a term
    last_planes_f32:
        starting_with(
            last::fixed([32, 32], false, Tiles::Wide),
            of(cases([5..36, 5..36], 2), false, Tiles::Wide),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
twins! {
    kernels = ["net_last_bytes_f32"];
    /// exact sums, or one rounding a term
    last_bytes_f32:
        starting_with(
            last::fixed([32, 32], true, Tiles::Wide),
            of(cases([5..36, 5..36], 2), true, Tiles::Wide),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
twins! {
    kernels = ["net_rows_first_32"];
    /// exact sums, or the roundings of operands, sums and outputs, as of the whole image
    rows_first_32:
        starting_with(
            strips(first::fixed(around([32, 16]), false, Tiles::Wide), [32, 16]),
            in_strips([33..70, 5..20]),
        ), Case => |b, c|
        first::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| first::oracle::<f16>(c, 32), tolerance = |c: &Case| first::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_rows_first_16"];
    /// exact sums, or the roundings of operands, sums and outputs, as of the whole image
    rows_first_16:
        starting_with(
            strips(first::fixed(around([16, 16]), false, Tiles::Wide), [16, 16]),
            in_strips([17..50, 5..20]),
        ), Case => |b, c|
        first::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| first::oracle::<f16>(c, 16), tolerance = |c: &Case| first::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_rows_first_f32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_first_f32: starting_with(strips(first::groups(false), [16, 16]), in_strips([17..50, 5..20])), Case => |b, c|
        first::run::<_, f32>(b, c, 64),
        oracle = |c: &Case| first::oracle::<f32>(c, 64), tolerance = |c: &Case| first::bound::<f32>(c, 64),
        twins = |c: &Case| between::<f32>(c, first::bound::<f32>(c, 64));
}
twins! {
    kernels = ["net_rows_last_32"];
    /// exact sums, or the roundings of operands and sums, as of the whole image
    rows_last_32:
        starting_with(
            strips(last::fixed([8, 56], false, Tiles::Wide), [8, 56]),
            in_strips([12..30, 5..60]),
        ), Case => |b, c|
        last::run::<_, f16>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f16>(c, 32), tolerance = |c: &Case| last::bound::<f16>(c, 32);
}
twins! {
    kernels = ["net_rows_last_16"];
    /// exact sums, or the roundings of operands and sums, as of the whole image
    rows_last_16:
        starting_with(
            strips(last::fixed([8, 56], false, Tiles::Wide), [8, 56]),
            in_strips([12..30, 5..60]),
        ), Case => |b, c|
        last::run::<_, f16>(b, c, 16),
        oracle = |c: &Case| last::oracle::<f16>(c, 16), tolerance = |c: &Case| last::bound::<f16>(c, 16);
}
twins! {
    kernels = ["net_rows_last_f32"];
    /// exact sums, or one rounding a term, as of the whole image
    rows_last_f32:
        starting_with(
            strips(last::fixed([32, 32], false, Tiles::Wide), [32, 32]),
            in_strips([36..70, 5..36]),
        ), Case => |b, c|
        last::run::<_, f32>(b, c, 32),
        oracle = |c: &Case| last::oracle::<f32>(c, 32), tolerance = |c: &Case| last::bound::<f32>(c, 32),
        twins = |c: &Case| last::between::<f32>(c, 32);
}
