//! How near the models inside the program come to their teacher: the scores that their cards state, from the program's own
//! results.

use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use super::Place;
use super::style::data;

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Peak signal to noise ratio in dB.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let square = mean(a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)));
    10.0 * (255.0f64.powi(2) / square).log10()
}

/// Mean structural similarity in uniform windows of 7 x 7 pixels, over all channels.
fn ssim(a: &RgbImage, b: &RgbImage) -> f64 {
    const SIDE: u32 = 7;
    let (c1, c2) = ((0.01 * 255.0f64).powi(2), (0.03 * 255.0f64).powi(2));
    let count = f64::from(SIDE * SIDE);
    let mut all = Vec::new();
    for c in 0..3 {
        for top in 0..=a.height() - SIDE {
            for left in 0..=a.width() - SIDE {
                let [mut sa, mut sb, mut aa, mut bb, mut ab] = [0.0; 5];
                for (y, x) in (top..top + SIDE).flat_map(|y| (left..left + SIDE).map(move |x| (y, x))) {
                    let [va, vb] = [a, b].map(|image| f64::from(image.get_pixel(x, y)[c]));
                    (sa, sb, aa, bb, ab) = (sa + va, sb + vb, aa + va * va, bb + vb * vb, ab + va * vb);
                }
                let (ma, mb) = (sa / count, sb / count);
                let [va, vb, cov] =
                    [aa - sa * ma, bb - sb * mb, ab - sa * mb].map(|deviations| deviations / (count - 1.0));
                let alike = (2.0 * ma * mb + c1) * (2.0 * cov + c2);
                all.push(alike / ((ma * ma + mb * mb + c1) * (va + vb + c2)));
            }
        }
    }
    mean(all.into_iter())
}

/// Energy of the steps across multiples of 8, over that of the steps one pixel beside them.
fn seams(image: &RgbImage) -> f64 {
    let (w, h) = image.dimensions();
    let step = |a: (u32, u32), b: (u32, u32)| {
        let (a, b) = (image.get_pixel(a.0, a.1), image.get_pixel(b.0, b.1));
        mean((0..3).map(|c| f64::from(a[c].abs_diff(b[c])).powi(2)))
    };
    let rows: Vec<f64> =
        (1..h).map(|y| mean((0..w as usize).map(|x| step((x as u32, y - 1), (x as u32, y))))).collect();
    let columns: Vec<f64> =
        (1..w).map(|x| mean((0..h as usize).map(|y| step((x - 1, y as u32), (x, y as u32))))).collect();
    let of = |some: fn(usize) -> bool| -> f64 {
        let one = |steps: &[f64]| {
            let some: Vec<f64> = steps.iter().enumerate().filter(|(i, _)| some(i + 1)).map(|(_, v)| *v).collect();
            mean(some.into_iter())
        };
        one(&rows) + one(&columns)
    };
    of(|at| at % 8 == 0) / of(|at| matches!(at % 8, 1 | 7))
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn stated_scores_are_those_of_the_program() {
    let place = Place::new();
    let assets = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let photo = assets("photos/chelsea.png");
    let teacher = data().join("weights/candy.safetensors").display().to_string();
    let styled = |model: &str| {
        place.ok(&format!("style apply --backend cpu --model {model} --in {} --out out.png", photo.display()));
        image::open(place.path("out.png")).unwrap().into_rgb8()
    };
    let wanted = styled(&teacher);
    for (model, card) in [("vit:candy", "models/vit_candy.json"), ("candy16", "models/candy16.json")] {
        let card: Value = serde_json::from_str(&std::fs::read_to_string(assets(card)).unwrap()).unwrap();
        let stated = &card["evaluation"]["images"]["chelsea"];
        assert_eq!((stated["width"].as_u64(), stated["height"].as_u64()), (Some(451), Some(300)));
        let got = styled(model);
        for (what, found, within) in [
            ("psnr_db", psnr(&got, &wanted), 0.02),
            ("ssim", ssim(&got, &wanted), 2e-3),
            ("seam_ratio", seams(&got), 2e-3),
            ("seam_ratio_teacher", seams(&wanted), 2e-3),
        ] {
            let stated = stated[what].as_f64().unwrap();
            assert!((found - stated).abs() <= within, "{model}: {what} is {found}, and {stated} is stated");
        }
    }
}
