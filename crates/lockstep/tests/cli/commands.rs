//! What each subcommand writes and says when all is well.

use super::{Place, pixels, read_npy};

#[test]
fn a_photograph_goes_out_and_comes_back() {
    let place = Place::with_pictures();
    for (name, channels) in [("gray.png", 1), ("colour.png", 3)] {
        let about = place.ok_json(&format!("nsct dec {name} -o c.npy --levels 1,2 --dfilt pkva --backend cpu"));
        assert_eq!(about["planes"].as_array().unwrap().len(), 7);
        let (shape, values) = read_npy(&place.read("c.npy"));
        assert_eq!((shape[0], shape[1], shape[2]), (1, channels, 7));
        assert!(values.iter().all(|v| v.is_finite()) && values.iter().any(|v| v.abs() > 1.0));
        assert_eq!(place.json("c.json")["transform"]["dfilt"], "pkva");
        // The sidecar tells the transform, and that the picture had 8 bits.
        place.ok("nsct rec c.npy -o back.png");
        assert_eq!(pixels(&place.path("back.png")), pixels(&place.path(name)), "{name}");
    }
}

#[test]
fn every_format_is_read_and_written() {
    let place = Place::with_pictures();
    let gray = pixels(&place.path("gray.png"));
    for name in ["x.tif", "x.pgm", "x.png"] {
        // Nothing is removed with a noise of strength 0: a conversion.
        place.ok(&format!("nsct denoise gray.png -o {name} --sigma 0 -l 1 --dfilt pkva"));
        place.ok(&format!("nsct denoise {name} -o again.png --sigma 0 -l 1 --dfilt pkva"));
        assert_eq!(pixels(&place.path("again.png")), gray, "{name}");
    }
    place.ok("nsct denoise colour.png -o x.jpg --sigma 0 -l 1 --dfilt pkva");
    place.ok("nsct denoise x.jpg -o y.ppm --sigma 0 -l 1 --dfilt pkva");
    assert_eq!(pixels(&place.path("y.ppm")).len(), 40 * 32 * 3);
    place.ok("nsct denoise gray.png -o deep.png --bits 16 --sigma 0 -l 1 --dfilt pkva");
    let deep = image::open(place.path("deep.png")).unwrap().into_luma16();
    assert!(deep.pixels().zip(&gray).all(|(d, g)| u16::abs_diff(d.0[0], u16::from(*g) * 257) <= 1));
    place.ok("nsct denoise deep.png -o deep.tif --sigma 0 -l 1 --dfilt pkva");
    assert_eq!(image::open(place.path("deep.tif")).unwrap().into_luma16(), deep);
    place.ok("nsct denoise gray.png -o x.npy --sigma 0 -l 1 --dfilt pkva --f64");
    let (shape, values) = read_npy(&place.read("x.npy"));
    assert_eq!(shape, [40, 48]);
    assert!(values.iter().zip(&gray).all(|(v, g)| (v - f64::from(*g)).abs() < 1e-9));
}

#[test]
fn planes_as_pictures() {
    let place = Place::with_pictures();
    place.ok("nsct dec gray.png -o c.npy --png bands -l 0,1 --dfilt pkva");
    assert_eq!(place.list("bands"), ["low.png", "s1.png", "s2d1.png", "s2d2.png"]);
    place.ok("nsct dec colour.png -o c.npy --png colours -l 1 --dfilt pkva");
    assert_eq!(place.list("colours").len(), 9);
    assert!(place.list("colours").contains(&"c2-s1d2.png".to_owned()));
}

#[test]
fn denoising_removes_noise_and_keeps_transparency() {
    let place = Place::new();
    let clean = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/photos/camera.png"))
        .unwrap()
        .crop_imm(60, 60, 96, 96)
        .into_luma8();
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    // The sum of twelve uniform values is close enough to a normal one.
    let mut noisy = clean.clone();
    for p in noisy.pixels_mut() {
        let g: f64 = (0..12).map(|_| random()).sum::<f64>() - 6.0;
        p.0[0] = (f64::from(p.0[0]) + 20.0 * g).clamp(0.0, 255.0) as u8;
    }
    noisy.save(place.path("noisy.png")).unwrap();
    let error = |image: &[u8]| {
        image.iter().zip(clean.as_raw()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
    };
    for mode in ["hard", "bivariate"] {
        let about = place.ok_json(&format!("nsct denoise noisy.png -o d.png --mode {mode} -l 2,2 --dfilt pkva"));
        let sigma = about["sigma"][0].as_f64().unwrap();
        assert!((14.0..26.0).contains(&sigma), "{sigma}");
        assert!(error(&pixels(&place.path("d.png"))) < 0.5 * error(noisy.as_raw()), "{mode}");
    }
    let with_alpha =
        image::RgbaImage::from_fn(24, 20, |x, y| image::Rgba([x as u8 * 9, y as u8 * 9, 77, (x * 10) as u8]));
    with_alpha.save(place.path("alpha.png")).unwrap();
    place.ok("nsct denoise alpha.png -o alpha-out.png -l 1 --dfilt pkva --sigma 3");
    let out = image::open(place.path("alpha-out.png")).unwrap().into_rgba8();
    assert!(out.pixels().zip(with_alpha.pixels()).all(|(a, b)| a.0[3] == b.0[3]));
}

#[test]
fn fusing_two_focus_settings() {
    let place = Place::with_pictures();
    let sharp = image::open(place.path("gray.png")).unwrap();
    let soft = sharp.blur(2.0).into_luma8();
    let sharp = sharp.into_luma8();
    for (name, left) in [("a.png", true), ("b.png", false)] {
        let half =
            image::GrayImage::from_fn(48, 40, |x, y| *if (x < 24) == left { &soft } else { &sharp }.get_pixel(x, y));
        half.save(place.path(name)).unwrap();
    }
    let error = |name: &str| -> f64 {
        pixels(&place.path(name)).iter().zip(sharp.as_raw()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    for rule in ["maxabs", "energy", "weighted", "mean"] {
        place.ok(&format!("nsct fuse a.png b.png -o {rule}.png --rule {rule} -l 1,2 --dfilt pkva"));
    }
    assert!(error("maxabs.png") < 0.5 * error("a.png").min(error("b.png")));
    assert!(error("maxabs.png") < error("mean.png"));
    place.ok("nsct fuse a.png b.png gray.png -o three.png -l 1 --dfilt pkva");
    assert_eq!(pixels(&place.path("three.png")).len(), sharp.as_raw().len());
}

#[test]
fn features_of_a_picture() {
    let place = Place::with_pictures();
    let about =
        place.ok_json("nsct features colour.png -o f.npy --stat energy,mean-abs,std,entropy -l 1,2 --dfilt pkva");
    assert_eq!(about["figures"].as_array().unwrap().len(), 4);
    let (shape, values) = read_npy(&place.read("f.npy"));
    assert_eq!(shape, [1, 3, 7, 4]);
    for row in values.chunks(4) {
        let (energy, mean_abs, std, entropy) = (row[0], row[1], row[2], row[3]);
        assert!(energy >= mean_abs * mean_abs && std * std <= energy * (1.0 + 1e-9) && (0.0..=8.0).contains(&entropy));
    }
    assert_eq!(place.json("f.json")["planes"][1], "s1d1");
}

#[test]
fn a_sheet_of_all_directions() {
    let place = Place::with_pictures();
    let about = place.ok_json("nsct show colour.png -o sheet.png -l 2,3 --dfilt pkva --tile 40");
    assert_eq!(about["planes"].as_array().unwrap().len(), 13);
    let sheet = image::open(place.path("sheet.png")).unwrap();
    assert_eq!(
        (u64::from(sheet.width()), u64::from(sheet.height())),
        (about["width"].as_u64().unwrap(), about["height"].as_u64().unwrap())
    );
    // The same sheet from stored coefficients, but for the picture itself, which is not in them.
    place.ok("nsct dec gray.png -o c.npy -l 2 --dfilt pkva");
    place.ok("nsct show c.npy -o stored.png --tile 40");
    place.ok("nsct show gray.png -o direct.png --tile 40 -l 2 --dfilt pkva");
    let (a, b) = (image::open(place.path("stored.png")).unwrap(), image::open(place.path("direct.png")).unwrap());
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    // The lowest row of tiles with its captions.
    let below = |i: &image::DynamicImage| i.crop_imm(0, i.height() - 100, i.width(), 100).into_rgb8();
    assert!(below(&a) == below(&b));
}

#[test]
fn info_of_a_transform() {
    let place = Place::new();
    let about = place.ok_json("nsct info --size 40x30 -l 1,2 --dfilt pkva --batch 3 --backend cpu");
    let planes = about["planes"].as_array().unwrap();
    assert_eq!((planes.len(), about["width"].as_u64(), about["height"].as_u64()), (7, Some(40), Some(30)));
    assert_eq!(about["bytes"]["coefficients"], 3 * 7 * 40 * 30 * 4);
    assert!(planes.iter().all(|p| p["gain"].as_f64().unwrap() > 0.0));
    assert!(place.ok("nsct info --size 40x30 -l 1 --dfilt pkva --backend cpu").contains("s1d2"));
}

#[test]
fn bench_measures_what_it_says() {
    let place = Place::new();
    let about = place.ok_json("nsct bench --size 32 --batch 2 --samples 3 --loop -l 1,2 --dfilt pkva --backend cpu");
    let rows = about["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let (p10, median, p90) =
            (row["p10_s"].as_f64().unwrap(), row["median_s"].as_f64().unwrap(), row["p90_s"].as_f64().unwrap());
        assert!(0.0 < p10 && p10 <= median && median <= p90);
    }
    assert_eq!(about["floor_bytes"], (1 + 7) * 2 * 32 * 32 * 4);
    assert!(about["round_trip_error"].as_f64().unwrap() < 5e-4);
    assert!(
        place.ok("nsct bench --size 32 --batch 1 --samples 2 -l 1 --dfilt pkva --backend cpu").contains("of floor")
    );
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new();
    for command in [
        "nsct dec",
        "nsct rec",
        "nsct denoise",
        "nsct fuse",
        "nsct features",
        "nsct show",
        "nsct info",
        "nsct verify",
        "nsct bench",
        "demo",
        "doctor",
        "compare",
    ] {
        let help = place.ok(&format!("{command} --help"));
        assert!(help.contains("Examples:") && help.contains(&format!("lockstep {command}")), "{command}: {help}");
        assert!(help.contains("--json"), "{command}");
    }
    assert!(place.ok("--help").contains("Exit codes"));
}

#[test]
fn engines_and_number_types_agree() {
    let place = Place::with_pictures();
    let coefficients = |options: &str| {
        place.ok(&format!("nsct dec gray.png -o c.npy -l 1,3 --dfilt pkva --backend cpu {options}"));
        read_npy(&place.read("c.npy")).1
    };
    let exact = coefficients("--engine taps --f64");
    for (options, limit) in
        [("--engine ladder --f64", 1e-10), ("--engine spectral --f64", 1e-10), ("--engine spectral", 5e-4)]
    {
        let other = coefficients(options);
        let worst = other.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= limit, "{options}: {worst}");
    }
}

#[test]
fn a_small_memory_budget_gives_the_same_bits() {
    let place = Place::with_pictures();
    place.ok("nsct dec colour.png -o whole.npy -l 1,2 --dfilt pkva --backend cpu --engine taps");
    place.ok("nsct dec colour.png -o parts.npy -l 1,2 --dfilt pkva --backend cpu --engine taps --memory 120K");
    assert!(place.read("whole.npy") == place.read("parts.npy"));
    place.fails(
        "nsct dec colour.png -o no.npy -l 1,2 --dfilt pkva --backend cpu --engine taps --memory 8K",
        6,
        &["out of memory", "--memory"],
    );
    assert!(!place.path("no.npy").exists());
}
