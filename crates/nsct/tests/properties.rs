//! What the mathematics of the transform promises, on random images, filters, levels and sizes.

mod oracle;
mod random;

use gpu_core::testing::{Fill, FillKind};
use gpu_core::{Cpu, Tensor};
use nsct::filters::{directional, energy_bounds, pyramid_prototype};
use nsct::kernels::{self, Planes};
use nsct::{Coeffs, DirFilter, NsctBackend, PyrFilter, Real, Side};
use random::{Case, case, check, coefficients, distance, dot, download, largest, pixels, upload};

/// Both element types on one backend.
trait Both: NsctBackend<f32> + NsctBackend<f64> {}
impl<B: NsctBackend<f32> + NsctBackend<f64>> Both for B {}

/// By how much one analysis, or one synthesis, can enlarge an image: the filters of `vk` are not normalised, and the
/// allowed differences grow with the numbers.
fn growth(case: &Case) -> f64 {
    let tree = directional(case.spec.dir).unwrap();
    let pyramid = pyramid_prototype(case.spec.pyr);
    let depth = i32::from(case.spec.levels.iter().copied().max().unwrap_or(0));
    let steps = case.spec.levels.len() as i32;
    let most = |side: Side| {
        let node = energy_bounds(tree.pair(side)[0], tree.pair(side)[1]).1;
        let step = energy_bounds(pyramid.pair(side)[0], pyramid.pair(side)[1]).1;
        (node.powi(depth) * step.powi(steps)).sqrt()
    };
    most(Side::Analysis).max(1.0) * most(Side::Synthesis).max(1.0)
}

/// A limit for f64 or f32, at pixels up to 255.
fn limit<T: Real>(case: &Case, double: f64, single: f64) -> f64 {
    growth(case) * if T::NAME == "f64" { double } else { single }
}

fn round_trip<B: NsctBackend<T>, T: Real>(b: &B, case: &Case) {
    let allowed = match case.spec.dir {
        DirFilter::Cd => limit::<T>(case, 1e-8, 5e-4),
        // Not a perfect pair, and each level adds its error.
        DirFilter::Dmaxflat6Toolbox => limit::<T>(case, 1e-2, 1e-2),
        _ => limit::<T>(case, 1e-10, 5e-4),
    };
    for engine in case.engines() {
        let plan = case.plan::<B, T>(b, engine);
        let back = plan.reconstruct(&plan.decompose(&case.image(b)).unwrap()).unwrap();
        let d = distance(&download(b, &back), &case.pixels());
        assert!(d <= allowed, "{engine:?} {}: off by {d:e}, allowed {allowed:e}", T::NAME);
    }
}

fn reconstruction_is_perfect<B: Both>(b: &B, share: u32) {
    check(share, case(), |case| {
        round_trip::<_, f64>(b, &case);
        round_trip::<_, f32>(b, &case);
    });
}

/// Every filter pair at least once with every engine, whatever the random cases are. A simulated device, on which a pair
/// takes seconds, gets each filter once: the two stages do not know of each other.
fn every_filter_pair_reconstructs<B: Both>(b: &B) {
    let dirs = (1..=7).map(DirFilter::Dmaxflat).chain([6, 8, 12].map(DirFilter::Pkva));
    let dirs = dirs.chain([DirFilter::Cd, DirFilter::Vk, DirFilter::Dmaxflat6Toolbox, DirFilter::Dmaxflat(20)]);
    let pyrs = [PyrFilter::Maxflat, PyrFilter::Pyr, PyrFilter::Pyrexc, PyrFilter::NineSeven];
    let simulated = B::NAME != "cpu" && std::env::var_os("LOCKSTEP_DRIVER").is_some();
    for (i, dir) in dirs.enumerate() {
        for pyr in if simulated { &pyrs[i % 4..=i % 4] } else { &pyrs[..] } {
            let spec = nsct::NsctSpec::new([1, 3]).with_dir(dir).with_pyr(*pyr);
            let fill = Fill::of(FillKind::Noise(7));
            let case = Case { spec, n: 1, c: 1, h: 13, w: 18, fill };
            round_trip::<_, f64>(b, &case);
            round_trip::<_, f32>(b, &case);
        }
    }
}

/// All engines against each other and against the oracle, both ways, on coefficients that are no image's too.
fn engines_agree<B: Both>(b: &B, share: u32) {
    fn one<B: NsctBackend<T>, T: Real>(b: &B, case: &Case) {
        let wedge = case.spec.geometry == nsct::Geometry::Wedge;
        let names = (case.spec.dir.to_string(), case.spec.pyr.to_string());
        let transform = oracle::nsct::Transform::new(&names.0, &names.1, wedge);
        let (h, w, levels) = (case.h, case.w, &case.spec.levels);
        let bands = transform.dec(&case.pixels(), h, w, levels);
        let any = pixels(case.fill.other(), bands.len() * h * w);
        let planes: Vec<Vec<f64>> = any.chunks(h * w).map(<[f64]>::to_vec).collect();
        let (rec, adjoint) = (transform.rec(&planes, h, w, levels), transform.adjoint(&planes, h, w, levels));
        // Sums over all planes of unrelated numbers are larger than an image.
        let many = (bands.len() as f64).sqrt();
        for engine in case.engines() {
            let plan = case.plan::<B, T>(b, engine);
            let got = coefficients(&plan.decompose(&case.image(b)).unwrap(), b);
            let d = distance(&got, &bands.concat());
            assert!(d <= limit::<T>(case, 1e-10, 5e-4), "{engine:?} {}: planes off by {d:e}", T::NAME);
            let tensor = upload(b, [1, 1, bands.len(), h, w], &any);
            let coeffs = Coeffs::from_tensor(tensor, plan.planes()).unwrap();
            let d = distance(&download(b, &plan.reconstruct(&coeffs).unwrap()), &rec);
            assert!(d <= many * limit::<T>(case, 2e-10, 1e-3), "{engine:?} {}: image off by {d:e}", T::NAME);
            let d = distance(&download(b, &plan.adjoint(&coeffs).unwrap()), &adjoint);
            assert!(d <= many * limit::<T>(case, 2e-10, 1e-3), "{engine:?} {}: adjoint off by {d:e}", T::NAME);
        }
    }
    check(share, case(), |case| {
        one::<_, f64>(b, &case);
        one::<_, f32>(b, &case);
    });
}

/// `<dec x, y> = <x, adjoint y>`, relative to the norms.
fn adjoint_is_adjoint<B: Both>(b: &B, share: u32) {
    fn one<B: NsctBackend<T>, T: Real>(b: &B, case: &Case, allowed: f64) {
        for engine in case.engines() {
            let plan = case.plan::<B, T>(b, engine);
            let (h, w, s) = (case.h, case.w, plan.planes().len());
            let x = case.pixels();
            let y = pixels(case.fill.other(), s * h * w);
            let coeffs = Coeffs::from_tensor(upload(b, [1, 1, s, h, w], &y), plan.planes()).unwrap();
            let left = dot(&coefficients(&plan.decompose(&case.image(b)).unwrap(), b), &y);
            let right = dot(&x, &download(b, &plan.adjoint(&coeffs).unwrap()));
            let scale = growth(case) * (dot(&x, &x) * dot(&y, &y)).sqrt();
            assert!((left - right).abs() <= allowed * scale, "{engine:?} {}: {left} and {right}", T::NAME);
        }
    }
    check(share, case(), |case| {
        one::<_, f64>(b, &case, 1e-12);
        one::<_, f32>(b, &case, 1e-5);
    });
}

fn transform_is_linear<B: Both>(b: &B, share: u32) {
    check(share, case(), |case| {
        for engine in case.engines() {
            let plan = case.plan::<B, f64>(b, engine);
            let other = Case { fill: case.fill.other(), ..case.clone() };
            let dec = |pixels: &[f64]| {
                let x = upload(b, [1, 1, case.h, case.w], pixels);
                coefficients(&plan.decompose(&x).unwrap(), b)
            };
            let mix = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| 0.5 * x - 0.75 * y).collect() };
            let (x, y) = (case.pixels(), other.pixels());
            let d = distance(&dec(&mix(&x, &y)), &mix(&dec(&x), &dec(&y)));
            assert!(d <= limit::<f64>(&case, 1e-10, 0.0), "{engine:?}: off by {d:e}");
        }
    });
}

/// Filters are even, so turning the image by 180 degrees turns every plane.
fn flipped_images_have_flipped_planes<B: Both>(b: &B, share: u32) {
    check(share, case(), |case| {
        for engine in case.engines() {
            let plan = case.plan::<B, f64>(b, engine);
            let mut x = case.pixels();
            let straight = coefficients(&plan.decompose(&case.image(b)).unwrap(), b);
            x.reverse();
            let turned = plan.decompose(&upload(b, [1, 1, case.h, case.w], &x)).unwrap();
            let mut turned = coefficients(&turned, b);
            turned.chunks_mut(case.h * case.w).for_each(<[f64]>::reverse);
            let d = distance(&straight, &turned);
            assert!(d <= limit::<f64>(&case, 1e-10, 0.0), "{engine:?}: off by {d:e}");
        }
    });
}

fn constants_are_low_pass<B: Both>(b: &B, share: u32) {
    check(share, case(), |case| {
        for engine in case.engines() {
            let plan = case.plan::<B, f64>(b, engine);
            let area = case.h * case.w;
            let flat = upload(b, [1, 1, case.h, case.w], &vec![200.0; area]);
            let coeffs = coefficients(&plan.decompose(&flat).unwrap(), b);
            let low = distance(&coeffs[..area], &vec![200.0; area]);
            let rest = largest(&coeffs[area..]);
            let allowed = limit::<f64>(&case, 1e-10, 0.0);
            assert!(low <= allowed && rest <= allowed, "{engine:?}: low off by {low:e}, rest up to {rest:e}");
        }
    });
}

/// A filter bank step scales energy between its bounds, so the transform does between their products.
fn energy_stays_in_bounds<B: Both>(b: &B, share: u32) {
    check(share, case(), |case| {
        if !matches!(case.spec.dir, DirFilter::Dmaxflat(_) | DirFilter::Cd | DirFilter::Vk) {
            // The mapping of a ladder leaves [-1, 1] a little, where these bounds hold.
            return;
        }
        let [p0, p1] = &directional(case.spec.dir).map(|d| d.pair(Side::Analysis).map(Clone::clone)).unwrap();
        let (node_low, node_high) = energy_bounds(p0, p1);
        let pyramid = pyramid_prototype(case.spec.pyr);
        let (step_low, step_high) = energy_bounds(&pyramid.h0, &pyramid.h1);
        let depth = i32::from(case.spec.levels.iter().copied().max().unwrap_or(0));
        let steps = case.spec.levels.len() as i32;
        let least = node_low.min(1.0).powi(depth) * step_low.min(1.0).powi(steps);
        let most = node_high.max(1.0).powi(depth) * step_high.max(1.0).powi(steps);
        let x = case.pixels();
        for engine in case.engines() {
            let coeffs = coefficients(&case.plan::<B, f64>(b, engine).decompose(&case.image(b)).unwrap(), b);
            let (energy, whole) = (dot(&coeffs, &coeffs), dot(&x, &x));
            let slack = 1e-10 * whole;
            assert!(energy >= least * whole - slack, "{engine:?}: {energy} of {whole} is below {least}");
            assert!(energy <= most * whole + slack, "{engine:?}: {energy} of {whole} is above {most}");
        }
    });
}

/// One test a property on the CPU, and on CUDA where there is one.
macro_rules! properties {
    ($($property:ident($($share:literal)?);)*) => {
        mod on_the_cpu {
            $(
                #[test]
                fn $property() {
                    super::$property(&gpu_core::Cpu::new() $(, $share)?);
                }
            )*
        }

        #[cfg(feature = "cuda")]
        mod on_cuda {
            $(
                #[test]
                #[ignore = "needs a CUDA device"]
                fn $property() {
                    super::$property(&gpu_core::testing::cuda() $(, $share)?);
                }
            )*
        }
    };
}

properties! {
    reconstruction_is_perfect(100);
    every_filter_pair_reconstructs();
    engines_agree(50);
    adjoint_is_adjoint(50);
    transform_is_linear(40);
    flipped_images_have_flipped_planes(40);
    constants_are_low_pass(40);
    energy_stays_in_bounds(60);
}

/// A NaN on any side of a shrinkage shows.
#[test]
fn shrinkage_keeps_nan() {
    let cpu = Cpu::new();
    let run = |y: f64, parent: f64, energy: f64| {
        let mut both = Tensor::from_slice(&cpu, [2], &[parent, y]).unwrap();
        let energy = Tensor::from_slice(&cpu, [1], &[energy]).unwrap();
        let variance = Tensor::from_slice(&cpu, [1], &[1.0]).unwrap();
        let one = Planes { count: 1, height: 1, width: 1 };
        kernels::bivariate(&cpu, one, variance.flat(), energy.flat(), 1, both.flat_mut(), 2, 1, Some(0)).unwrap();
        both.to_vec(&cpu).unwrap()
    };
    assert_eq!(run(3.0, 4.0, 4.0), [4.0, 3.0 * (5.0 - 3.0_f64.sqrt() / 3.0_f64.sqrt()) / 5.0]);
    assert!(run(f64::NAN, 4.0, 4.0)[1].is_nan());
    assert!(run(3.0, f64::NAN, 4.0)[1].is_nan());
    assert!(run(3.0, 4.0, f64::NAN)[1].is_nan());
    assert_eq!(run(3.0, 4.0, 0.5)[1], 0.0);
    assert_eq!(run(3.0, 4.0, 1.0)[1], 0.0);
}
