//! Denoising, fusion and features through the public interface: batches, parts, ties, definitions, and what is refused.

mod oracle;

use gpu_core::{Backend, Cpu, Tensor};
use nsct::denoise::{Shrinkage, denoise, shrink};
use nsct::features::{Stat, features, features_of};
use nsct::fuse::{Rule, fuse};
use nsct::{Coeffs, Engine, Error, NsctPlan, NsctSpec, Real, noise, planes};
use oracle::apps;

const SIZE: (usize, usize) = (40, 33);

fn spec() -> NsctSpec {
    NsctSpec::new([1, 2, 2]).with_dir("pkva".parse().unwrap()).with_pyr("pyr".parse().unwrap())
}

fn plan<T: Real>(cpu: &Cpu) -> NsctPlan<Cpu, T> {
    NsctPlan::new(cpu, &spec().with_engine(Engine::Ladder), SIZE.0, SIZE.1).unwrap()
}

/// `n` pictures: edges, each with its own noise.
fn pictures<T: Real>(n: usize) -> Vec<Vec<T>> {
    let (h, w) = SIZE;
    (0..n)
        .map(|k| {
            let g = noise::gaussian(k as u64, h * w);
            (0..h * w)
                .map(|i| T::of(if (i % w) * (k + 2) < i / w { 40.0 } else { 200.0 } + g[i] * (k + 1) as f64 * 4.0))
                .collect()
        })
        .collect()
}

fn upload<B: Backend, T: Real>(b: &B, [n, c]: [usize; 2], images: &[Vec<T>]) -> Tensor<B, T, 4> {
    Tensor::from_slice(b, [n, c, SIZE.0, SIZE.1], &images.concat()).unwrap()
}

fn wide<T: Real>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Real::to_f64).collect()
}

#[test]
fn a_batch_is_denoised_like_single_pictures() {
    let cpu = Cpu::new();
    let plan = plan::<f32>(&cpu);
    let images = pictures::<f32>(6);
    for sigma in [None, Some(12.5)] {
        for how in [Shrinkage::Hard, Shrinkage::Bivariate] {
            let batch = denoise(&plan, &upload(&cpu, [2, 3], &images), sigma, how).unwrap();
            assert_eq!(batch.image.shape(), [2, 3, SIZE.0, SIZE.1]);
            let all = batch.image.to_vec(&cpu).unwrap();
            for (k, image) in images.iter().enumerate() {
                let one = denoise(&plan, &upload(&cpu, [1, 1], std::slice::from_ref(image)), sigma, how).unwrap();
                assert_eq!(one.sigma, [batch.sigma[k]], "{how} {k}");
                let area = SIZE.0 * SIZE.1;
                assert_eq!(one.image.to_vec(&cpu).unwrap(), all[k * area..][..area], "{how} {k}");
            }
            if sigma.is_none() {
                assert!(batch.sigma.windows(2).all(|s| s[0] < s[1]), "{:?}", batch.sigma);
            }
        }
    }
    let none = denoise(&plan, &upload(&cpu, [0, 3], &[]), None, Shrinkage::Hard).unwrap();
    assert!(none.sigma.is_empty() && none.image.is_empty());
}

#[test]
fn a_batch_that_does_not_fit_is_denoised_in_parts() {
    let images = pictures::<f64>(5);
    let roomy = Cpu::new();
    let whole = denoise(&plan(&roomy), &upload(&roomy, [5, 1], &images), None, Shrinkage::Bivariate).unwrap();
    // Room for tables, the pictures, their results, and one or two transforms, but not five.
    let plane = SIZE.0 * SIZE.1 * 8;
    let tight = Cpu::with_memory_limit(50 * plane);
    let plan = plan::<f64>(&tight);
    let x = upload(&tight, [5, 1], &images);
    assert!(plan.decompose(&x).is_err(), "the limit is too high for this test to show anything");
    let parts = denoise(&plan, &x, None, Shrinkage::Bivariate).unwrap();
    assert_eq!(parts.sigma, whole.sigma);
    assert_eq!(parts.image.to_vec(&tight).unwrap(), whole.image.to_vec(&roomy).unwrap());
}

#[test]
fn without_noise_nothing_changes() {
    let cpu = Cpu::new();
    let plan = plan::<f64>(&cpu);
    let x = upload(&cpu, [1, 2], &pictures(2));
    let plain = plan.reconstruct(&plan.decompose(&x).unwrap()).unwrap().to_vec(&cpu).unwrap();
    let hard = denoise(&plan, &x, Some(0.0), Shrinkage::Hard).unwrap().image.to_vec(&cpu).unwrap();
    assert_eq!(hard, plain);
    // y (m - 0) / m rounds twice.
    let bivariate = denoise(&plan, &x, Some(0.0), Shrinkage::Bivariate).unwrap().image.to_vec(&cpu).unwrap();
    assert!(bivariate.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-11));
}

/// The whole of a shrinkage from its formulas, plane by plane.
#[test]
fn shrinkage_by_the_formulas() {
    let cpu = Cpu::new();
    let plan = plan::<f64>(&cpu);
    let (h, w) = SIZE;
    let area = h * w;
    let sigma = 5.0;
    let noisy = plan.decompose(&upload(&cpu, [1, 1], &pictures(1))).unwrap();
    let y = noisy.tensor().to_vec(&cpu).unwrap();
    let gains = plan.gains().unwrap();
    let plane = |s: usize| &y[s * area..][..area];
    // low, s1 (2), s2 (4), s3 (4): the parent of each plane.
    let parents = [None, None, None, Some(1), Some(1), Some(2), Some(2), Some(3), Some(4), Some(5), Some(6)];
    let factors = [0.0, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 3.8, 3.8, 3.8, 3.8];
    assert_eq!(plan.planes().len(), parents.len());
    for how in [Shrinkage::Hard, Shrinkage::Bivariate] {
        let mut coeffs =
            Coeffs::from_tensor(Tensor::from_slice(&cpu, noisy.shape(), &y).unwrap(), planes(&spec().levels)).unwrap();
        shrink(&plan, &mut coeffs, &[sigma], how).unwrap();
        let got = coeffs.tensor().to_vec(&cpu).unwrap();
        assert_eq!(got[..area], y[..area], "the low-pass plane is kept");
        for s in 1..parents.len() {
            let want: Vec<f64> = match how {
                Shrinkage::Hard => apps::hard_threshold(plane(s), factors[s] * sigma * gains[s]),
                Shrinkage::Bivariate => {
                    let energy = apps::box_square(plane(s), h, w, 5);
                    let variance = (sigma * gains[s]).powi(2);
                    let parent = |i: usize| parents[s].map_or(0.0, |p: usize| plane(p)[i]);
                    (0..area).map(|i| apps::bivariate(plane(s)[i], parent(i), energy[i], variance)).collect()
                }
            };
            for (i, (got, want)) in got[s * area..][..area].iter().zip(&want).enumerate() {
                assert!((got - want).abs() < 1e-9, "{how} plane {s} pixel {i}: {got} {want}");
            }
            assert!(want.iter().any(|&v| v != 0.0) && want.contains(&0.0), "{how} plane {s} shows nothing");
        }
    }
}

#[test]
fn what_cannot_be_denoised() {
    let cpu = Cpu::new();
    let plan = plan::<f32>(&cpu);
    let x = upload(&cpu, [1, 1], &pictures(1));
    for sigma in [-1.0, f64::NAN, f64::INFINITY] {
        let e = denoise(&plan, &x, Some(sigma), Shrinkage::Hard).unwrap_err();
        assert!(e.to_string().contains("sigma") && e.to_string().contains(&sigma.to_string()), "{e}");
    }
    let small = Tensor::<_, f32, 4>::zeros(&cpu, [1, 1, 8, 8]).unwrap();
    assert!(matches!(denoise(&plan, &small, None, Shrinkage::Hard), Err(Error::ShapeMismatch { .. })));
    let flat = NsctPlan::<_, f32>::new(&cpu, &NsctSpec::new([]), SIZE.0, SIZE.1).unwrap();
    assert!(denoise(&flat, &x, None, Shrinkage::Hard).unwrap_err().to_string().contains("give sigma"));
    assert!(denoise(&flat, &x, Some(1.0), Shrinkage::Bivariate).is_ok());
    let lost = Tensor::from_slice(&cpu, [1, 1, SIZE.0, SIZE.1], &vec![f32::NAN; SIZE.0 * SIZE.1]).unwrap();
    assert!(denoise(&plan, &lost, None, Shrinkage::Hard).unwrap_err().to_string().contains("not finite"));
    let mut coeffs = plan.decompose(&x).unwrap();
    assert!(matches!(shrink(&plan, &mut coeffs, &[1.0, 2.0], Shrinkage::Hard), Err(Error::ShapeMismatch { .. })));
    let other = NsctPlan::<_, f32>::new(&cpu, &NsctSpec::new([2, 2, 1]), SIZE.0, SIZE.1).unwrap();
    assert!(matches!(shrink(&other, &mut coeffs, &[1.0], Shrinkage::Hard), Err(Error::Value { .. })));
    assert!(matches!(noise::estimate(&other, &coeffs), Err(Error::Value { .. })));
}

/// All images at once, from the definition of each rule.
#[test]
fn fusion_by_the_formulas() {
    let cpu = Cpu::new();
    let plan = plan::<f64>(&cpu);
    let (h, w) = SIZE;
    let area = h * w;
    let total = plan.planes().len();
    for count in [2, 3, 4] {
        let images: Vec<_> = pictures::<f64>(count);
        let on_device: Vec<_> = images.iter().map(|x| upload(&cpu, [1, 1], std::slice::from_ref(x))).collect();
        let transforms: Vec<Vec<f64>> =
            on_device.iter().map(|x| plan.decompose(x).unwrap().tensor().to_vec(&cpu).unwrap()).collect();
        let energies: Vec<Vec<f64>> = transforms
            .iter()
            .map(|y| y.chunks(area).flat_map(|plane| apps::box_square(plane, h, w, 3)).collect())
            .collect();
        for rule in [Rule::MaxAbs, Rule::Energy, Rule::Weighted, Rule::Mean] {
            let fused: Vec<f64> = (0..total * area)
                .map(|i| {
                    let y: Vec<f64> = transforms.iter().map(|y| y[i]).collect();
                    let e: Vec<f64> = energies.iter().map(|e| e[i]).collect();
                    let best = |score: &dyn Fn(usize) -> f64| {
                        (1..count).fold(0, |best, k| if score(k) > score(best) { k } else { best })
                    };
                    match rule {
                        _ if i < area => y.iter().sum::<f64>() / count as f64,
                        Rule::MaxAbs => y[best(&|k| y[k].abs())],
                        Rule::Energy => y[best(&|k| e[k])],
                        Rule::Weighted => y.iter().zip(&e).map(|(y, e)| y * e).sum::<f64>() / e.iter().sum::<f64>(),
                        Rule::Mean => y.iter().sum::<f64>() / count as f64,
                    }
                })
                .collect();
            let fused = Tensor::from_slice(&cpu, [1, 1, total, h, w], &fused).unwrap();
            let want = plan.reconstruct(&Coeffs::from_tensor(fused, plan.planes()).unwrap()).unwrap();
            let got = fuse(&plan, &on_device.iter().collect::<Vec<_>>(), rule).unwrap();
            let (got, want) = (got.to_vec(&cpu).unwrap(), want.to_vec(&cpu).unwrap());
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-9, "{rule} of {count}: {got} {want}");
            }
        }
    }
}

#[test]
fn fusion_of_a_batch_of_itself_and_of_what_does_not_fit() {
    let cpu = Cpu::new();
    let plan = plan::<f32>(&cpu);
    let images = pictures::<f32>(4);
    let (a, b) = (upload(&cpu, [2, 1], &images[..2]), upload(&cpu, [2, 1], &images[2..]));
    let plain = wide(plan.reconstruct(&plan.decompose(&a).unwrap()).unwrap().to_vec(&cpu).unwrap());
    for rule in [Rule::MaxAbs, Rule::Energy, Rule::Weighted, Rule::Mean] {
        let same = wide(fuse(&plan, &[&a, &a, &a], rule).unwrap().to_vec(&cpu).unwrap());
        assert!(same.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-3), "{rule} of one picture");
        let batch = fuse(&plan, &[&a, &b], rule).unwrap().to_vec(&cpu).unwrap();
        for (k, batch) in batch.chunks(SIZE.0 * SIZE.1).enumerate() {
            let one = |all: &[Vec<f32>]| upload(&cpu, [1, 1], &all[k..=k]);
            let single = fuse(&plan, &[&one(&images[..2]), &one(&images[2..])], rule).unwrap();
            assert_eq!(single.to_vec(&cpu).unwrap(), batch, "{rule} {k}");
        }
        assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    }
    for few in [vec![], vec![&a]] {
        assert!(fuse(&plan, &few, Rule::MaxAbs).unwrap_err().to_string().contains("two or more"));
    }
    let one = upload(&cpu, [1, 1], &images[..1]);
    assert!(matches!(fuse(&plan, &[&a, &one], Rule::Mean), Err(Error::ShapeMismatch { .. })));
    let none = upload::<_, f32>(&cpu, [0, 1], &[]);
    assert!(fuse(&plan, &[&none, &none], Rule::Energy).unwrap().is_empty());
    let unknown = "maxbs".parse::<Rule>().unwrap_err();
    assert!(unknown.to_string().contains("maxabs"), "{unknown}");
}

#[test]
fn features_by_their_definitions() {
    let cpu = Cpu::new();
    let plan = plan::<f64>(&cpu);
    let x = upload(&cpu, [3, 2], &pictures(6));
    let coeffs = plan.decompose(&x).unwrap();
    let y = coeffs.tensor().to_vec(&cpu).unwrap();
    let got = features(&plan, &x, &Stat::ALL).unwrap();
    assert_eq!(got.dim(), (3, 2, plan.planes().len(), 4));
    let n = (SIZE.0 * SIZE.1) as f64;
    for (plane, got) in y.chunks(SIZE.0 * SIZE.1).zip(got.rows()) {
        let mean = plane.iter().sum::<f64>() / n;
        let largest = plane.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let counts = apps::histogram(plane, largest);
        let entropy: f64 = counts.iter().filter(|c| **c > 0.0).map(|c| -(c / n) * (c / n).log2()).sum();
        let want = [
            plane.iter().map(|v| v * v).sum::<f64>() / n,
            plane.iter().map(|v| v.abs()).sum::<f64>() / n,
            (plane.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
            entropy,
        ];
        for ((got, want), stat) in got.iter().zip(want).zip(Stat::ALL) {
            assert!((got - want).abs() <= 1e-12 * want.abs(), "{stat}: {got} {want}");
        }
    }
    let chosen = features_of(&cpu, &coeffs, &[Stat::Entropy, Stat::Energy]).unwrap();
    assert_eq!(chosen.index_axis(ndarray::Axis(3), 0), got.index_axis(ndarray::Axis(3), 3));
    assert_eq!(chosen.index_axis(ndarray::Axis(3), 1), got.index_axis(ndarray::Axis(3), 0));
    assert_eq!(features_of(&cpu, &coeffs, &[]).unwrap().dim(), (3, 2, plan.planes().len(), 0));
}

/// Without rounding: planes that are given, not computed.
#[test]
fn features_of_special_planes() {
    let cpu = Cpu::new();
    let area = SIZE.0 * SIZE.1;
    let ids = planes(&[2]);
    let special =
        [vec![7.0_f32; area], vec![0.0; area], alternating(area, 3.0), vec![1e8; area], broken(area)].concat();
    let tensor = Tensor::from_slice(&cpu, [1, 1, 5, SIZE.0, SIZE.1], &special).unwrap();
    let coeffs = Coeffs::from_tensor(tensor, ids).unwrap();
    let got = features_of(&cpu, &coeffs, &[Stat::Energy, Stat::MeanAbs, Stat::Std, Stat::Entropy]).unwrap();
    let row = |s: usize| got.slice(ndarray::s![0, 0, s, ..]).to_vec();
    assert_eq!(row(0), [49.0, 7.0, 0.0, 0.0]);
    assert_eq!(row(1), [0.0; 4]);
    assert_eq!(row(2), [9.0, 3.0, 3.0, 0.0]);
    // One-pass formulas lose this one.
    assert_eq!(row(3), [1e16, 1e8, 0.0, 0.0]);
    assert!(row(4).iter().all(|v| !v.is_finite()), "{:?}", row(4));
    let sign = row(3)[3].is_sign_positive();
    assert!(sign, "an entropy of 0 is not -0");
}

fn alternating(n: usize, v: f32) -> Vec<f32> {
    // An even number of pixels, so that the mean is 0.
    assert_eq!(n % 2, 0);
    (0..n).map(|i| if i % 2 == 0 { v } else { -v }).collect()
}

fn broken(n: usize) -> Vec<f32> {
    (0..n).map(|i| if i == n / 2 { f32::INFINITY } else { 1.0 }).collect()
}

/// With less and less memory the same bits come out, until not even one picture fits.
fn same_bits_in_parts(unlimited: impl Fn(&Cpu) -> nsct::Result<Vec<f64>>) {
    let wanted = unlimited(&Cpu::new()).unwrap();
    let plane = SIZE.0 * SIZE.1 * size_of::<f32>();
    let mut smallest = usize::MAX;
    for planes in (1..=400).rev().step_by(9) {
        match unlimited(&Cpu::with_memory_limit(planes * plane)) {
            Ok(got) => {
                assert_eq!(got, wanted, "{planes} planes of memory");
                smallest = planes;
            }
            Err(Error::Gpu(gpu_core::Error::OutOfMemory { .. })) => break,
            Err(e) => panic!("{planes} planes of memory: {e}"),
        }
    }
    // The coefficients of all six pictures alone are 54 planes, twice that where two are fused.
    assert!(smallest < 54, "split down to {smallest} planes of memory");
}

#[test]
fn memory_splits_every_application_without_changing_a_bit() {
    let images = pictures::<f32>(6);
    let small = |cpu: &Cpu| {
        let spec = NsctSpec::new([1, 2]).with_dir("pkva6".parse().unwrap()).with_engine(Engine::Ladder);
        NsctPlan::<_, f32>::new(cpu, &spec, SIZE.0, SIZE.1)
    };
    let at = |cpu: &Cpu| Tensor::<_, f32, 4>::from_slice(cpu, [2, 3, SIZE.0, SIZE.1], &images.concat());
    same_bits_in_parts(|cpu| Ok(features(&small(cpu)?, &at(cpu)?, &[Stat::Energy, Stat::Std])?.into_iter().collect()));
    same_bits_in_parts(|cpu| {
        // Twice, since a plan keeps its workspace.
        let (plan, x) = (small(cpu)?, at(cpu)?);
        drop(denoise(&plan, &x, Some(8.0), Shrinkage::Bivariate)?);
        Ok(wide(denoise(&plan, &x, Some(8.0), Shrinkage::Bivariate)?.image.to_vec(cpu)?))
    });
    for rule in [Rule::MaxAbs, Rule::Energy] {
        same_bits_in_parts(|cpu| {
            let (plan, x) = (small(cpu)?, at(cpu)?);
            let y = Tensor::from_slice(cpu, x.shape(), &images.iter().rev().flatten().copied().collect::<Vec<_>>())?;
            Ok(wide(fuse(&plan, &[&x, &y], rule)?.to_vec(cpu)?))
        });
    }
}
