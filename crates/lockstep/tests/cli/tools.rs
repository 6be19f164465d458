//! `doctor`, `compare`, `demo`, `verify`.

use super::{Place, npy_f32};

const FAST: &str = "-l 1,2 --dfilt pkva";

#[test]
fn doctor_always_has_a_cpu() {
    let place = Place::new();
    let about = place.ok_json("doctor");
    let findings = about["findings"].as_array().unwrap();
    let state = |what: &str| findings.iter().find(|f| f["what"] == what).map(|f| f["state"].clone());
    assert_eq!(state("CPU").unwrap(), "ok");
    assert_eq!(state("cpu self test").unwrap(), "ok");
    for finding in findings.iter().filter(|f| f["state"] != "ok") {
        assert!(finding["remedy"].as_str().is_some_and(|r| r.len() > 20), "{finding}");
    }
    assert_eq!(place.run("doctor --backend cuda:1000").code, 4);
    place.ok("doctor --backend cpu");
}

#[test]
fn a_backend_equals_itself() {
    let place = Place::with_pictures();
    let about = place.ok_json(&format!("compare --backends cpu,cpu -- nsct dec gray.png -o c.npy --png bands {FAST}"));
    assert_eq!(about["passed"], true);
    let files = about["files"].as_array().unwrap();
    assert_eq!(files.len(), 8, "coefficients and seven pictures: {about}");
    for file in files {
        assert_eq!(
            (file["result"]["max_ulps"].as_u64(), file["result"]["differ"].as_u64()),
            (Some(0), Some(0)),
            "{file}"
        );
    }
    assert_eq!(place.list("."), ["colour.png", "gray.png"], "outputs go elsewhere");
    place.ok(&format!("compare --backends cpu,cpu --keep kept nsct denoise colour.png -o d.png {FAST}"));
    assert!(place.path("kept/1-cpu/d.png").exists() && place.path("kept/2-cpu/d.png").exists());
}

#[test]
fn compare_sees_differences_and_refuses_nonsense() {
    let place = Place::with_pictures();
    place.fails("compare --backends cpu,cpu -- nsct info", 2, &["no -o"]);
    place.fails("compare --backends cpu -- nsct dec gray.png -o c.npy", 2, &["two backends"]);
    place.fails("compare -- nsct dec gray.png -o c.npy --backend cpu", 2, &["--backend"]);
    place.fails("compare --backends cpu,cpu -- nsct dec lost.png -o c.npy", 5, &["lost.png"]);
    place.fails(
        "compare --backends cpu,cuda:1000 -- nsct dec gray.png -o c.npy -l 1 --dfilt pkva",
        4,
        &["--backends cpu,cpu"],
    );
    place.fails("compare --backends cpu,cpu -- nsct dec gray.png -o ..", 2, &["names no file"]);
    place.fails("compare --max-rel -1 -- nsct dec gray.png -o c.npy", 2, &["-1"]);
}

#[test]
fn verify_passes_reports_and_fails() {
    let place = Place::new();
    // The transform of a constant is the constant and zeros, whatever the filters.
    let (h, w) = (6, 5);
    let x = vec![3.0f32; h * w];
    let mut bands = x.clone();
    bands.extend(vec![0.0; 2 * h * w]);
    place.write("data/cases/x.npy", &npy_f32(&[h, w], &x));
    place.write("data/cases/bands.npy", &npy_f32(&[3, h, w], &bands));
    let case = serde_json::json!({
        "id": "constant", "H": h, "W": w, "levels": [1], "dfilt": "pkva", "pfilt": "pyr", "geometry": "toolbox",
        "bands": ["low", "s1d1", "s1d2"], "surprise": 1,
        "files": { "x": "cases/x.npy", "bands": "cases/bands.npy", "recw": "cases/x.npy" },
    });
    let write = |cases: &[&serde_json::Value]| {
        place.write("data/manifest.json", serde_json::json!({ "cases": cases, "novelty": [1] }).to_string().as_bytes());
    };
    write(&[&case]);
    // Band 0 has the weight 1, so the weighted inverse is the constant as well.
    let about = place.ok_json("nsct verify data --backend cpu");
    assert_eq!(about["failed"], 0);
    assert!(about["passed"].as_u64().unwrap() >= 6, "three engines or more, two number types: {about}");
    let notes = about["notes"].to_string();
    for word in ["novelty", "surprise", "digests", "batch", "prims.json", "apps.json", "filters"] {
        assert!(notes.contains(word), "{word} is not in {notes}");
    }
    let text = place.ok("nsct verify data --backend cpu --engine taps --type f64");
    assert!(
        text.lines()
            .any(|l| l.starts_with("PASS") && l.contains("constant") && l.contains("taps") && l.contains("f64")),
        "{text}"
    );

    let mut wrong = case.clone();
    wrong["id"] = "wrong".into();
    wrong["files"]["bands"] = "cases/wrong.npy".into();
    let mut lost = case.clone();
    lost["id"] = "lost".into();
    lost["files"]["x"] = "cases/nowhere.npy".into();
    bands[4] += 1e-3;
    place.write("data/cases/wrong.npy", &npy_f32(&[3, h, w], &bands));
    write(&[&case, &wrong, &lost]);
    let ran = place.run("nsct verify data --backend cpu --engine taps");
    assert_eq!(ran.code, 1, "{}", ran.out);
    let verdict = |id: &str, word: &str| ran.out.lines().any(|l| l.starts_with(word) && l.contains(id));
    assert!(verdict("constant", "PASS") && verdict("wrong", "FAIL") && verdict("lost", "FAIL"), "{}", ran.out);
    assert!(ran.out.contains("nowhere.npy"));
    place.fails("nsct verify nowhere", 5, &["nowhere"]);
    place.write("nothing/readme.txt", b"");
    place.fails("nsct verify nothing --backend cpu", 2, &["manifest.json"]);
}

#[test]
fn the_demo_writes_a_page_that_needs_nothing_else() {
    let place = Place::new();
    let about = place.ok_json("demo -o tour --backend cpu");
    let results = &about["results"];
    assert!(results["reconstruction_error"].as_f64().unwrap() < 5e-4);
    let denoised = &results["denoising_psnr"];
    assert!(denoised["bivariate"].as_f64().unwrap() > denoised["noisy"].as_f64().unwrap() + 5.0);
    let wall: Vec<f64> = (0..3).map(|i| results["led_wall"][i]["psnr"].as_f64().unwrap()).collect();
    assert!(wall[2] > wall[1] && wall[1] > wall[0] + 1.0, "{wall:?}");
    let page = String::from_utf8(place.read("tour/index.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.ends_with("</html>\n"));
    assert!(!page.contains("src=\"http") && !page.contains("<script"));
    assert_eq!(results["grids"]["programs"], 4);
    assert_eq!(page.matches("<svg class=\"grid\"").count(), 5);
    let pictures = place.list("tour");
    assert!(pictures.len() >= 13, "{pictures:?}");
    // A scene of RAW files lies beside them.
    assert_eq!(place.list("tour/7-scene/Bayer/drawn2/gt"), ["gt.dng"]);
    let found = results["align"].as_array().unwrap();
    assert!(found.len() == 4 && found.iter().all(|pair| pair["state"] == "confident"), "{found:?}");
    for name in pictures.iter().filter(|n| *n != "index.html" && *n != "7-scene") {
        image::open(place.path(&format!("tour/{name}"))).unwrap();
    }
}

#[test]
fn kept_results_of_an_earlier_comparison_do_not_count() {
    let place = super::Place::with_pictures();
    std::fs::create_dir(place.path("in")).unwrap();
    std::fs::rename(place.path("gray.png"), place.path("in/gray.png")).unwrap();
    let line = "compare --backends cpu,cpu --keep kept --max-rel 0 -- nsct dec in -o out -l 1";
    assert!(place.ok(line).contains("PASS"));
    let changed =
        place.list("kept/1-cpu").into_iter().find(|n| n != "done.jsonl" && !n.starts_with('.')).expect("an output");
    let path = place.path(&format!("kept/1-cpu/{changed}"));
    let file = if path.is_dir() { path.join("gray.npy") } else { path };
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(place.ok(line).contains("PASS"));
    // What somebody else keeps there is not thrown away.
    place.write("mine/1-cpu/precious.txt", b"x");
    place.fails(&line.replace("kept", "mine"), 2, &["1-cpu", "did not write"]);
    assert_eq!(place.read("mine/1-cpu/precious.txt"), b"x");
}

#[test]
fn comparing_moves_every_output() {
    let place = super::Place::with_pictures();
    let text = place.ok("compare --backends cpu,cpu -- style apply --in gray.png --out styled.png");
    assert!(text.contains("values equal") && !place.path("styled.png").exists(), "{text}");
}

#[test]
fn a_sidecar_without_its_geometry_is_refused() {
    let place = super::Place::with_pictures();
    place.ok("nsct dec gray.png -o c.npy -l 4 --geometry toolbox --backend cpu");
    let mut about: serde_json::Value = serde_json::from_slice(&place.read("c.json")).unwrap();
    about["transform"].as_object_mut().unwrap().remove("geometry");
    place.write("c.json", about.to_string().as_bytes());
    place.fails("nsct rec c.npy -o back.png --backend cpu", 2, &["transform.geometry"]);
}

#[test]
fn an_output_that_exists_is_left_alone_when_asked() {
    let place = super::Place::with_pictures();
    place.write("styled.png", b"mine");
    place.ok("style apply --in gray.png --out styled.png --skip-existing");
    assert_eq!(place.read("styled.png"), b"mine");
}
