//! Walls and matrices as a user works with them.

use super::{Place, npy_f32, read_npy};

fn npy_i32(shape: &[usize], values: &[i32]) -> Vec<u8> {
    let text = format!("{{'descr': '<i4', 'fortran_order': False, 'shape': {shape:?}, }}\n")
        .replace('[', "(")
        .replace(']', ")");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// The values of a file of `i32`.
fn read_npy_integers(bytes: &[u8]) -> Vec<i32> {
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + length..].chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// A small wall, its Gram matrix, and two frames.
fn place() -> Place {
    let place = Place::new();
    place.ok("ata gen --leds 40 --width 64 --height 48 --block 16 --margin 4 --seed 3 --scale 0.25 --out wall");
    place.ok("ata gram --patterns wall --out matrix --int int.npy --backend cpu");
    let pixels: Vec<u8> = (0..2 * 3 * 48 * 64).map(|i| if (i / 8 + i / 640) % 2 == 0 { 220 } else { 20 }).collect();
    let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 48, 64), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(pixels);
    place.write("frames.npy", &bytes);
    place
}

#[test]
fn from_a_wall_to_values_and_back_to_pictures() {
    let place = place();
    let info = place.ok_json("ata info matrix --plot blocks.png");
    assert_eq!((info["n"].as_u64(), info["channels"].as_u64()), (Some(40), Some(3)));
    assert!(info["nonempty_upper_blocks"].as_u64().is_some_and(|n| n >= 3));
    assert!(image::open(place.path("blocks.png")).is_ok());
    let orders = place.ok_json("ata order --patterns wall --method rcm --out order.npy");
    assert!(orders["orders"]["chosen"]["blocks"].as_u64().is_some());
    place.ok("ata atb --patterns wall --frames frames.npy --out b.npy --int b_int.npy --backend cpu");
    let (shape, _) = read_npy(&place.read("b.npy"));
    assert_eq!(shape, [2, 3, 40]);
    // Three ways to the same right side.
    let solve = |right: &str, out: &str| {
        place.ok_json(&format!(
            "ata solve --matrix matrix {right} --out {out}.npy --u8 {out}_u8.npy --iters 300 --tol 1e-5 --report {out}.json --backend cpu"
        ))
    };
    let report = solve("--atb b.npy", "x");
    assert!(report["converged"].as_array().unwrap().iter().all(|c| c == true), "{report}");
    solve("--atb-int b_int.npy", "y");
    solve("--patterns wall --frames frames.npy", "z");
    assert_eq!(place.read("x.npy"), place.read("y.npy"));
    assert_eq!(place.read("x.npy"), place.read("z.npy"));
    assert_eq!(place.json("x.json")["iterations"], report["iterations"]);
    let (_, x) = read_npy(&place.read("x.npy"));
    assert!(x.iter().all(|v| (0.0..=1.0).contains(v)) && x.iter().any(|v| *v > 0.0));
    // Polishing, other methods, a warm start.
    for more in ["--precision f16", "--method sd", "--method bb", "--method cg", "--warm x.npy", "--physical-order"] {
        place.ok(&format!("ata solve --matrix matrix --atb b.npy --out w.npy --iters 20 --backend cpu {more}"));
    }
    // One launch or many: the same bits. Gamma and the order of bytes.
    for execution in ["launches", "persistent"] {
        let line = format!("ata solve --matrix matrix --atb b.npy --out {execution}.npy --iters 30 --backend cpu");
        place.ok(&format!("{line} --precision f16 --execution {execution}"));
    }
    assert_eq!(place.read("launches.npy"), place.read("persistent.npy"));
    // The order came from the patterns into the folder of the matrix.
    assert_eq!(place.read("matrix/order.npy"), place.read("wall/order.npy"));
    let line = "ata solve --matrix matrix --atb b.npy --iters 20 --backend cpu --physical-order";
    place.ok(&format!("{line} --out w.npy"));
    place.ok(&format!("{line} --out v.npy --patterns wall"));
    assert_eq!(place.read("w.npy"), place.read("v.npy"));
    let line = "ata solve --matrix matrix --atb b.npy --out w.npy --u8 u8.npy --iters 300 --tol 1e-5 --backend cpu";
    place.ok(&format!("{line} --u16 u16.npy"));
    let ((shape, words), (_, values)) = (read_npy(&place.read("u16.npy")), read_npy(&place.read("w.npy")));
    assert_eq!(shape, [2, 3, 40]);
    assert!(words.iter().zip(&values).all(|(level, x)| *level == (65535.0 * x + 0.5).floor()));
    place.ok(line);
    let plain = place.read("u8.npy");
    place.ok(&format!("{line} --interleaved --gamma 1"));
    let (header, turned) = (plain.len() - 240, place.read("u8.npy"));
    let of = |f: usize, c: usize, i: usize| (f * 3 + c) * 40 + i;
    for (at, (f, c, i)) in (0..2).flat_map(|f| (0..40).flat_map(move |i| (0..3).map(move |c| (f, c, i)))).enumerate() {
        assert_eq!(turned[turned.len() - 240 + at], plain[header + of(f, c, i)]);
    }
    place.ok(&format!("{line} --gamma 2.2"));
    let bright = place.read("u8.npy");
    assert!(bright[header..].iter().zip(&plain[header..]).all(|(a, b)| a >= b) && bright != plain);
    let seen = place
        .ok_json("ata render --patterns wall --x x.npy --out seen.npy --compare frames.npy --png sheets --backend cpu");
    let psnr = |v: &serde_json::Value| v["frames"][0]["psnr"].as_f64().unwrap();
    place.write("dark.npy", &npy_f32(&[2, 3, 40], &[0.0; 240]));
    let dark = place.ok_json("ata render --patterns wall --x dark.npy --out d.npy --compare frames.npy --backend cpu");
    assert!(psnr(&seen) > psnr(&dark));
    assert_eq!(place.list("sheets"), ["frame0000.png", "frame0001.png"]);
    // Without a folder of its own, drawings go beside the pictures.
    assert_eq!(place.list("d-compare"), ["frame0000.png", "frame0001.png"]);
    let sheet = image::open(place.path("d-compare/frame0000.png")).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (3 * 64, 48));
}

/// Patterns of real numbers go the same ways as bytes.
#[test]
fn real_patterns_take_the_same_commands() {
    let place = place();
    let (shape, bytes) = read_npy(&place.read("wall/patterns.npy"));
    let light: Vec<f32> = bytes.iter().map(|v| (v / 255.0) as f32).collect();
    for file in ["top_left.npy", "meta.json", "order.npy", "positions.npy"] {
        place.write(&format!("real/{file}"), &place.read(&format!("wall/{file}")));
    }
    place.write("real/patterns.npy", &npy_f32(&shape, &light));
    let near = |a: &str, b: &str| {
        let ((shape, a), (wanted, b)) = (read_npy(&place.read(a)), read_npy(&place.read(b)));
        assert_eq!(shape, wanted);
        let largest = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    };
    place.ok("ata gram --patterns real --out real_matrix --backend cpu");
    near("real_matrix/blocks.npy", "matrix/blocks.npy");
    for folder in ["wall", "real"] {
        let line = format!("--patterns {folder} --frames frames.npy --backend cpu --transfer srgb");
        place.ok(&format!("ata atb --out {folder}_b.npy {line}"));
        place.ok(&format!("ata solve --matrix matrix --out {folder}_x.npy --iters 50 {line}"));
        place.ok(&format!("ata render --patterns {folder} --x wall_x.npy --out {folder}_seen.npy --backend cpu"));
        place.ok(&format!("ata order --patterns {folder} --out {folder}_order.npy"));
    }
    near("real_b.npy", "wall_b.npy");
    near("real_x.npy", "wall_x.npy");
    near("real_seen.npy", "wall_seen.npy");
    assert_eq!(place.read("real_order.npy"), place.read("wall_order.npy"));
    // Another order: a permuted matrix of the same LEDs, whose values in the order of the LEDs are the same.
    place.ok("ata order --patterns wall --method rcm --reorder turned");
    assert_eq!(place.read("turned/positions.npy"), place.read("wall/positions.npy"));
    assert_ne!(place.read("turned/order.npy"), place.read("wall/order.npy"));
    place.ok("ata gram --patterns turned --out turned_matrix --backend cpu");
    for (matrix, patterns) in [("matrix", "wall"), ("turned_matrix", "turned")] {
        let line = format!("ata solve --matrix {matrix} --patterns {patterns} --frames frames.npy --physical-order");
        place.ok(&format!("{line} --iters 5 --out {patterns}_physical.npy --backend cpu"));
    }
    near("turned_physical.npy", "wall_physical.npy");
    // A window for each channel: the same ones, so the same sums.
    let corners = read_npy_integers(&place.read("wall/top_left.npy"));
    let repeated: Vec<i32> = corners.chunks_exact(2).flat_map(|c| [c[0], c[1]].repeat(3)).collect();
    for file in ["patterns.npy", "meta.json", "order.npy", "positions.npy"] {
        place.write(&format!("each/{file}"), &place.read(&format!("wall/{file}")));
    }
    place.write("each/top_left.npy", &npy_i32(&[40, 3, 2], &repeated));
    place.ok("ata gram --patterns each --out each_matrix --int each_int.npy --backend cpu");
    assert_eq!(place.read("each_int.npy"), place.read("int.npy"));
    assert_eq!(place.read("each_matrix/blocks.npy"), place.read("matrix/blocks.npy"));
    let line = "--frames frames.npy --transfer srgb --backend cpu";
    place.ok(&format!("ata atb --patterns each --out each_b.npy --int each_sums.npy {line}"));
    assert_eq!(place.read("each_b.npy"), place.read("wall_b.npy"));
    place.ok("ata render --patterns each --x wall_x.npy --out each_seen.npy --backend cpu");
    assert_eq!(place.read("each_seen.npy"), place.read("wall_seen.npy"));
    // The order that the wall has been made in.
    place.ok("ata order --patterns each --method best --reorder again");
    // Headers may be padded in other ways.
    let values = |file: &str| {
        let bytes = place.read(file);
        bytes[10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))..].to_vec()
    };
    assert_eq!(values("again/top_left.npy"), values("each/top_left.npy"));
    assert_eq!(values("again/patterns.npy"), values("each/patterns.npy"));
    place.fails("ata gram --patterns real --out m --int i.npy --backend cpu", 2, &["real/patterns.npy", "--int"]);
}

#[test]
fn matrices_go_out_and_come_in_again() {
    let place = place();
    let blocks = place.read("matrix/blocks.npy");
    place.ok("ata export matrix --format dense --out dense.npy");
    place.ok("ata import --dense dense.npy --out a");
    assert_eq!(place.read("a/blocks.npy"), blocks);
    place.ok("ata export matrix --format dia --out dia");
    place.ok("ata import --dia dia/data.npy --dia-offsets dia/offsets.npy --out b");
    assert_eq!(place.read("b/blocks.npy"), blocks);
    place.ok("ata export matrix --format csr --out csr");
    let one = |c: usize| format!("--csr csr/indptr{c}.npy,csr/indices{c}.npy,csr/data{c}.npy");
    place.ok(&format!("ata import {} {} {} --out c", one(0), one(1), one(2)));
    assert_eq!(place.read("c/blocks.npy"), blocks);
    place.ok("ata export matrix --format mtx --out mtx");
    place.ok("ata import --mtx mtx/channel0.mtx --mtx mtx/channel1.mtx --mtx mtx/channel2.mtx --out d");
    assert_eq!(place.read("d/blocks.npy"), blocks);
    place.ok("ata import --blocks matrix/blocks.npy --offsets matrix/offsets.npy --rows 40 --out e");
    assert_eq!(place.read("e/blocks.npy"), blocks);
}

#[test]
fn products_are_written_in_every_precision() {
    let place = place();
    let x: Vec<f32> = (0..3 * 3 * 40).map(|i| (i % 17) as f32 / 16.0).collect();
    place.write("x.npy", &npy_f32(&[3, 3, 40], &x));
    place.ok("ata apply --matrix matrix --x x.npy --out exact.npy --precision f32 --quad q.npy --backend cpu");
    let (_, wanted) = read_npy(&place.read("exact.npy"));
    let (shape, quad) = read_npy(&place.read("q.npy"));
    assert_eq!(shape, [3, 3]);
    let own: f64 = x[..40].iter().zip(&wanted).map(|(x, y)| f64::from(*x) * y).sum();
    assert!((quad[0] - own).abs() < 1e-6 * own.abs());
    for precision in ["tf32", "tf32x3", "f16", "f16x2", "bf16", "bf16x3"] {
        place.ok(&format!("ata apply --matrix matrix --x x.npy --out y.npy --precision {precision} --backend cpu"));
        let (_, y) = read_npy(&place.read("y.npy"));
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let error = norm(&mut y.iter().zip(&wanted).map(|(a, b)| a - b)) / norm(&mut wanted.iter().copied());
        assert!(error < 6e-3, "{precision}: {error}");
        place.ok(&format!(
            "ata apply --matrix matrix --x x.npy --out s.npy --precision {precision} --sequential --backend cpu"
        ));
        assert_eq!(place.read("s.npy"), place.read("y.npy"));
    }
}

#[test]
fn the_benchmark_tells_every_row() {
    let place = Place::new();
    let line = "ata bench --leds 40 --samples 1 --threads 1 --backend cpu --large 200";
    let all = ["cpu", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "G11", "video"];
    let about = place.ok_json(&format!("{line} {}", all.map(|case| format!("--case {case}")).join(" ")));
    let rows = about["rows"].as_array().unwrap();
    for case in all.iter().filter(|case| **case != "G8") {
        assert!(rows.iter().any(|row| row["case"] == *case), "{case}");
    }
    assert!(
        rows.iter().all(|row| row["median_s"].as_f64().unwrap() >= 0.0 && row["floor_bytes"].as_f64().unwrap() > 0.0)
    );
    // A wall as sparse as this fills few of its tiles.
    let efficiency = about["tile_efficiency"].as_f64().unwrap();
    assert!(efficiency > 0.2 && efficiency <= 1.0, "{efficiency}");
    place.fails("ata bench --case G12", 2, &["G12", "G11"]);
    place.fails("ata bench --samples 0", 2, &["samples"]);
}

#[test]
fn bad_input_is_named() {
    let place = place();
    place.fails("ata solve --matrix matrix --atb b.npy --out x.npy --execution fast", 2, &["fast", "persistent"]);
    place.fails("ata solve --matrix matrix --atb b.npy --out x.npy --u8 y.npy --gamma 0", 2, &["gamma", "2.2"]);
    place.fails("ata info nothing", 5, &["nothing/blocks.npy", "cannot be read"]);
    place.write("x.npy", &npy_f32(&[1, 3, 39], &[0.0; 117]));
    place.fails("ata apply --matrix matrix --x x.npy --out y.npy", 2, &["x.npy", "shape", "[F, 3, 40]"]);
    place.write("x.npy", &npy_f32(&[1, 3, 40], &[f32::NAN; 120]));
    place.fails("ata apply --matrix matrix --x x.npy --out y.npy", 2, &["x.npy", "element 0", "finite"]);
    let whole = place.read("matrix/blocks.npy");
    place.write("matrix/blocks.npy", &whole[..whole.len() - 1]);
    place.fails("ata info matrix", 2, &["blocks.npy", "data", "truncated"]);
    let mut crooked = vec![0.0; 2 * 256];
    crooked[1] = 1.0;
    place.write("blocks.npy", &npy_f32(&[1, 1, 2, 16, 16], &crooked));
    place.write("offsets.npy", &npy_f32(&[1], &[0.0]));
    place.fails("ata import --blocks blocks.npy --offsets offsets.npy --out m", 2, &["offsets.npy", "descr"]);
    let mut dense = vec![0.0; 9];
    dense[1] = 1.0;
    place.write("dense.npy", &npy_f32(&[1, 3, 3], &dense));
    place.fails("ata import --dense dense.npy --out m", 2, &["dense.npy", "not symmetric", "(0, 1)"]);
    place.ok("ata import --dense dense.npy --symmetry upper --out m");
    place.fails("ata import --out m", 2, &["--dense"]);
    place.fails("ata apply --matrix m --x x.npy --out y.npy --precision f8", 2, &["f8", "tf32x3"]);
    place.fails("ata gen --leds 4 --width 10 --height 48 --block 16 --out w", 2, &["wall", "windows of 16"]);
    place.fails("ata gen --leds 4 --width 64 --height 48 --order snake:2 --out w", 2, &["snake:AXIS:WIDTH"]);
    place.write("b.npy", &npy_f32(&[1, 1, 3], &[0.0; 3]));
    place.fails("ata solve --matrix m --atb b.npy --out x.npy --physical-order", 5, &["m/order.npy"]);
    place.fails("ata solve --matrix m --atb b.npy --out x.npy --gamma 2.2", 2, &["--u8"]);
    place.fails("ata verify .", 5, &["manifest.json"]);
    place.write("manifest.json", b"{}");
    place.fails("ata verify .", 2, &["nothing"]);
    let meta = String::from_utf8(place.read("wall/meta.json")).unwrap();
    place.write("wall/meta.json", meta.replace("64", "60").as_bytes());
    place.fails("ata gram --patterns wall --out m", 2, &["top_left.npy", "outside of the picture"]);
}

#[test]
fn generated_cases_are_verified() {
    let place = Place::new();
    // Offsets as int32.
    let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n";
    let mut offsets = b"\x93NUMPY\x01\x00".to_vec();
    offsets.extend((text.len() as u16).to_le_bytes());
    offsets.extend(text.bytes());
    offsets.extend([0i32, 2].iter().flat_map(|v| v.to_le_bytes()));
    place.write("big/case/offsets.npy", &offsets);
    let manifest = r#"{"case": {"kind": "exact-generated", "n": 100, "frames": 9, "seed": 5, "files": {}}}"#;
    place.write("big/manifest.json", manifest.as_bytes());
    let report = place.ok_json("ata verify big --backend cpu");
    assert_eq!(report["failed"], 0);
    // A wrong answer fails.
    place.write("big/case/y.npy", &npy_f32(&[9, 3, 100], &vec![1.0; 2700]));
    assert_eq!(place.run("ata verify big --backend cpu").code, 1);
}

#[test]
fn places_of_leds_decide_their_order() {
    let place = Place::new();
    let wall = "ata gen --leds 60 --width 96 --height 64 --block 16 --margin 4 --seed 5 --scale 0.25";
    place.ok(&format!("{wall} --order snake:0:8 --out snake"));
    place.ok(&format!("{wall} --order rcm --out rcm"));
    // The order of rcm's patterns, told in LEDs by way of the folder's own order, is that of the other wall.
    place.ok("ata order --patterns rcm --method snake:0:8 --reorder again");
    assert_eq!(place.read("again/order.npy"), place.read("snake/order.npy"));
    assert_eq!(place.read("again/patterns.npy"), place.read("snake/patterns.npy"));
}

#[test]
fn sizes_that_no_memory_has_are_errors() {
    let place = place();
    place.write("big.mtx", b"%%MatrixMarket matrix coordinate real general\n4000000000 4000000000 0\n");
    place.fails("ata import --mtx big.mtx --out m", 2, &["big.mtx", "memory"]);
    place.write("wall/meta.json", br#"{"width": 1000000000, "height": 1000000000}"#);
    place.fails("ata gram --patterns wall --out m --backend cpu", 2, &["2^30 pixels"]);
    assert!(!place.path("m").exists());
}
