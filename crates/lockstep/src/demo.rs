//! `lockstep demo`: everything on bundled photographs, as pictures and one page.

mod aligning;
mod ata;
mod grids;
mod styling;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::style::StyleBackend;
use ata_wmma::AtaBackend;
use clap::Args;
use gpu_core::{Backend, Cpu, with_backend};
use nsct::denoise::{Shrinkage, denoise};
use nsct::fuse::{Rule, fuse};
use nsct::{Engine, Geometry, NsctBackend, NsctPlan, NsctSpec, noise};
use serde_json::{Value, json};

use crate::backend::BackendArgs;
use crate::exit::{Exit, Result};
use crate::files;
use crate::nsct::work::{decompose, download, upload};
use crate::nsct::{Sheet, describe};
use crate::photos::{CAMERA, CHELSEA, COFFEE};
use crate::pictures::{Picture, encode_png, largest_difference, psnr};
use crate::report::{Cell, Page};
use crate::session::{Session, seconds};

/// Options of `demo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep demo                      writes demo-output/index.html and its pictures
  lockstep demo -o tour --backend cpu

The photographs are part of the program. Their sources and licences are in assets/photos/README.md.")]
pub(crate) struct Demo {
    /// Folder for the pictures and index.html
    #[arg(short, long, value_name = "DIR", default_value = "demo-output")]
    output: PathBuf,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Demo {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let any = self.backend.open(None)?;
        files::make_folder(&self.output)?;
        let start = Instant::now();
        let tour = with_backend!(&any, |b| {
            let mut tour = Tour::new(session, &self.output, b);
            tour.decomposition()?;
            tour.geometries()?;
            tour.denoising()?;
            tour.fusion()?;
            tour.styling()?;
            tour.led_wall()?;
            tour.aligning()?;
            tour.grids()?;
            tour.equality()?;
            tour.speed()?;
            Ok::<_, crate::exit::Failure>(tour.finish())
        })?;
        let (page, results) = tour;
        let index = self.output.join("index.html");
        files::write(&index, page.as_bytes())?;
        session.note(format!("done in {}", seconds(start.elapsed().as_secs_f64())));
        session.say(format!("\nOpen {} in a browser; the pictures are beside it.", index.display()));
        session.document(&json!({
            "page": index, "backend": any.name(), "device": any.device().name,
            "seconds": start.elapsed().as_secs_f64(), "results": results,
        }))?;
        Ok(Exit::Ok)
    }
}

/// The demonstration on one backend, and the page it grows.
struct Tour<'a, B: NsctBackend<f32> + StyleBackend + AtaBackend> {
    session: &'a Session,
    folder: &'a Path,
    b: &'a B,
    page: Page,
    results: serde_json::Map<String, Value>,
}

impl<'a, B: NsctBackend<f32> + StyleBackend + AtaBackend> Tour<'a, B> {
    fn new(session: &'a Session, folder: &'a Path, b: &'a B) -> Self {
        let mut page = Page::new(
            "Lockstep: contourlets, style transfer, an LED wall, aligned photographs and grids",
            "Every picture and number on this page was just computed on your machine, from photographs inside the \
             program, a scene and a grid that it draws.",
        );
        let device = b.device();
        page.text(&format!(
            "The nonsubsampled contourlet transform splits a picture into scales, and each scale into directions. \
             No plane is made smaller, so nothing shifts and nothing aliases, and the picture comes back exactly. \
             This run used the backend `{}`: {}.",
            B::NAME,
            device.name
        ));
        Self { session, folder, b, page, results: serde_json::Map::new() }
    }

    /// Writes a picture and returns its PNG for the page.
    fn keep(&self, name: &str, picture: &Picture) -> Result<Vec<u8>> {
        self.write(name, encode_png(picture)?)
    }

    /// Writes the bytes of a PNG and returns them.
    fn write(&self, name: &str, png: Vec<u8>) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        files::write(&path, &png)?;
        self.session.note(format!("  {}", path.display()));
        Ok(png)
    }

    fn result(&mut self, line: &str, key: &str, value: Value) {
        self.session.note(line);
        self.results.insert(key.to_owned(), value);
    }

    fn decomposition(&mut self) -> Result<()> {
        let photo = CAMERA.open()?;
        let [.., h, w] = photo.shape;
        let spec = NsctSpec::default();
        let plan = NsctPlan::<B, f32>::new(self.b, &spec, h, w)?;
        let coeffs = decompose(self.b, &plan, &photo)?;
        let planes = download(self.b, coeffs.tensor())?;
        let back = photo.with_samples(download(self.b, &plan.reconstruct(&coeffs)?)?);
        let error = largest_difference(&back.samples, &photo.samples);
        let line =
            format!("decomposition: {} planes, the inverse is off by at most {error:.1e} of 255", spec.plane_count());
        self.result(&line, "reconstruction_error", json!(error));
        let sheet = Sheet {
            title: CAMERA.name,
            spec: &spec,
            height: h,
            width: w,
            peak: 255.0,
            original: Some(&photo.samples),
            planes: &planes,
            tile: None,
        };
        let sheet = self.keep("1-directions.png", &sheet.draw())?;
        let original = self.keep("1-original.png", &photo)?;
        let rebuilt = self.keep("1-reconstructed.png", &back)?;
        // Multiplied until the largest error is white: otherwise the picture would be plain gray.
        let grown = photo.samples.iter().zip(&back.samples).map(|(x, y)| 127.5 + 127.5 * (y - x) / error.max(1e-30));
        let difference = self.keep("1-difference.png", &Picture::gray(h, w, grown.collect()))?;
        self.page.section("Scales and directions");
        self.page.text(&format!(
            "A photograph, and its {} planes: {}. Mid-gray is zero. In each plane only edges across one range of \
             directions are left; the small blue icon shows that range in the plane of frequencies.",
            spec.plane_count(),
            describe(&spec)
        ));
        self.page.pictures(&[(&sheet, "All directions of all scales", "lockstep nsct show photo.png -o sheet.png")]);
        self.page.text(&format!(
            "The inverse gives the photograph back. In single precision the largest error of a pixel is \
             {error:.1e} on a range of 0 to 255; the right picture shows the error, multiplied by {:.0e}.",
            127.5 / error.max(1e-30)
        ));
        self.page.pictures(&[
            (&original, "Photograph", "512 × 512"),
            (&rebuilt, "Reconstructed", "from all planes"),
            (&difference, "Difference", "magnified rounding errors"),
        ]);
        Ok(())
    }

    fn geometries(&mut self) -> Result<()> {
        let n = 256;
        let pattern = zone_plate(n);
        let mut sheets = Vec::new();
        for geometry in [Geometry::Wedge, Geometry::Toolbox] {
            let spec = NsctSpec::new([4]).with_geometry(geometry);
            let plan = NsctPlan::<B, f32>::new(self.b, &spec, n, n)?;
            let planes = download(self.b, decompose(self.b, &plan, &pattern)?.tensor())?;
            let sheet = Sheet {
                title: &format!("zone plate · {geometry}"),
                spec: &spec,
                height: n,
                width: n,
                peak: 255.0,
                original: Some(&pattern.samples),
                planes: &planes,
                tile: Some(150),
            };
            sheets.push(self.keep(&format!("2-geometry-{geometry}.png"), &sheet.draw())?);
        }
        self.page.section("Two geometries");
        self.page.text(
            "Rings hold every direction once. With 16 directions, the geometry `wedge` (the default) gives each \
             plane one wedge of them. The geometry `toolbox` reproduces the published MATLAB toolbox to rounding; \
             from depth 4 on that toolbox mixes two conventions for its axes, and a plane holds pieces of several \
             directions. Both reconstruct perfectly.",
        );
        self.page.pictures(&[(&sheets[0], "wedge", "each plane is one range of directions")]);
        self.page.pictures(&[(&sheets[1], "toolbox", "as published")]);
        Ok(())
    }

    fn denoising(&mut self) -> Result<()> {
        let clean = CHELSEA.open()?;
        let [_, channels, h, w] = clean.shape;
        let sigma = 25.0;
        let grains = noise::gaussian(crate::nsct::SEED + 25, clean.samples.len());
        let noisy = clean.with_samples(clean.samples.iter().zip(grains).map(|(x, g)| x + sigma * g).collect());
        let plan = NsctPlan::<B, f32>::new(self.b, &NsctSpec::new([3, 3, 4, 4]), h, w)?;
        let x = upload(self.b, &noisy, 0..channels)?;
        let (mut figures, mut best) = (Vec::new(), None);
        for how in [Shrinkage::Hard, Shrinkage::Bivariate] {
            let done = denoise(&plan, &x, None, how)?;
            let picture = clean.with_samples(download(self.b, &done.image)?);
            figures.push((how, psnr(&picture.samples, &clean.samples, 255.0)));
            best = Some((picture, done.sigma));
        }
        let Some((picture, estimates)) = best else { return Ok(()) };
        let before = psnr(&noisy.samples, &clean.samples, 255.0);
        let after = figures[1].1;
        let line =
            format!("denoising: {before:.2} dB → {after:.2} dB (noise of {sigma}, estimated as {:.1})", estimates[0]);
        let value = json!({ "noisy": before, "hard": figures[0].1, "bivariate": after, "estimates": estimates });
        self.result(&line, "denoising_psnr", value);
        let shown = [
            self.keep("3-clean.png", &clean)?,
            self.keep("3-noisy.png", &noisy)?,
            self.keep("3-denoised.png", &picture)?,
        ];
        self.page.section("Denoising");
        self.page.text(&format!(
            "White noise of standard deviation {sigma} was added to each channel. The program was not told how \
             much: it estimated {} from the finest planes. Bivariate shrinkage weighs each coefficient by its \
             neighbourhood and by its parent on the next coarser scale.",
            estimates.iter().map(|s| format!("{s:.1}")).collect::<Vec<_>>().join(", ")
        ));
        self.page.pictures(&[
            (&shown[0], "Clean", ""),
            (&shown[1], "Noisy", &format!("{before:.2} dB")),
            (&shown[2], "Denoised", &format!("{after:.2} dB")),
        ]);
        let rows = figures.iter().map(|(how, db)| {
            let cell = format!("{db:.2}");
            let cell = if *db >= after.max(figures[0].1) { Cell::Best(cell) } else { Cell::Text(cell) };
            vec![how.to_string().into(), cell, format!("{:+.2}", db - before).into()]
        });
        self.page.table(&["method", "PSNR in dB", "gain in dB"], rows.collect());
        self.page.commands(&["lockstep nsct denoise noisy.png -o clean.png", "lockstep nsct bench --quality"]);
        Ok(())
    }

    fn fusion(&mut self) -> Result<()> {
        let sharp = COFFEE.open()?;
        let [_, channels, h, w] = sharp.shape;
        let blurred = blur(&sharp, 2.5);
        let half = |left: bool| {
            let pick = |i: usize| if (i % w < w / 2) == left { blurred.samples[i] } else { sharp.samples[i] };
            sharp.with_samples((0..sharp.samples.len()).map(pick).collect())
        };
        let (a, c) = (half(true), half(false));
        let plan = NsctPlan::<B, f32>::new(self.b, &NsctSpec::new([2, 3, 3]), h, w)?;
        let (x, y) = (upload(self.b, &a, 0..channels)?, upload(self.b, &c, 0..channels)?);
        let db = |p: &Picture| psnr(&p.samples, &sharp.samples, 255.0);
        let (mut rows, mut fused) = (Vec::new(), None);
        for rule in [Rule::Mean, Rule::Energy, Rule::MaxAbs] {
            let picture = sharp.with_samples(download(self.b, &fuse(&plan, &[&x, &y], rule)?)?);
            rows.push((rule, db(&picture)));
            fused = Some(picture);
        }
        let Some(fused) = fused else { return Ok(()) };
        let line = format!("fusion: {:.2} dB and {:.2} dB → {:.2} dB", db(&a), db(&c), db(&fused));
        let named: Vec<_> = rows.iter().map(|(rule, db)| json!({ "rule": rule.to_string(), "psnr": db })).collect();
        self.result(&line, "fusion_psnr", json!({ "left_blurred": db(&a), "right_blurred": db(&c), "fused": named }));
        let shown = [
            self.keep("4-left-blurred.png", &a)?,
            self.keep("4-right-blurred.png", &c)?,
            self.keep("4-fused.png", &fused)?,
        ];
        self.page.section("Fusing two focus settings");
        self.page.text(
            "One picture is blurred in its left half, the other in its right. The fused one takes, at each place \
             of each plane, the larger coefficient, and is sharp everywhere.",
        );
        self.page.pictures(&[
            (&shown[0], "Left half out of focus", &format!("{:.2} dB", db(&a))),
            (&shown[1], "Right half out of focus", &format!("{:.2} dB", db(&c))),
            (&shown[2], "Fused", &format!("{:.2} dB", db(&fused))),
        ]);
        let best = rows.iter().map(|(_, db)| *db).fold(0.0, f64::max);
        let table = rows.iter().map(|(rule, db)| {
            let cell = format!("{db:.2}");
            vec![rule.to_string().into(), if *db == best { Cell::Best(cell) } else { Cell::Text(cell) }]
        });
        self.page.table(&["rule", "PSNR in dB"], table.collect());
        self.page.commands(&["lockstep nsct fuse near.jpg far.jpg -o sharp.png"]);
        Ok(())
    }

    /// The planes of the CPU beside those of this backend, when it is another one.
    fn equality(&mut self) -> Result<()> {
        if B::NAME == Cpu::NAME {
            return Ok(());
        }
        let photo = CAMERA.open()?;
        let (mut rows, mut values, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for engine in [Engine::Taps, Engine::Spectral] {
            let spec = NsctSpec::default().with_engine(engine);
            let (here, there) = (planes_of(self.b, &spec, &photo)?, planes_of(&Cpu::new(), &spec, &photo)?);
            let differ = here.iter().zip(&there).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            let worst = largest_difference(&here, &there);
            rows.push(vec![
                engine.to_string().into(),
                format!("{differ} of {}", here.len()).into(),
                if differ == 0 { Cell::Best("0".into()) } else { format!("{worst:.1e}").into() },
            ]);
            values.push(json!({ "engine": engine.to_string(), "differ": differ, "max_abs": worst }));
            let distance = if differ == 0 { "the same bits".to_owned() } else { format!("{worst:.1e} apart at most") };
            said.push(format!("{engine} {distance}"));
        }
        self.result(&format!("CPU and GPU: {}", said.join(", ")), "cpu_and_gpu", Value::from(values));
        self.page.section("The same numbers on CPU and GPU");
        self.page.text(
            "All planes of the photograph, computed on both. The engine `taps` adds in the same order with the \
             same roundings, so its bits are equal; the engine `spectral` uses another library for its Fourier \
             transforms on each side.",
        );
        self.page.table(&["engine", "values that differ", "largest difference"], rows);
        Ok(())
    }

    fn speed(&mut self) -> Result<()> {
        let mut rows = time_of(self.b, Engine::Auto)?;
        if B::NAME != Cpu::NAME {
            rows.extend(time_of(&Cpu::new(), Engine::Auto)?);
        }
        let slowest = rows.iter().map(|r| r.1.max(r.2)).fold(0.0, f64::max);
        let fastest = &rows[0];
        let line =
            format!("speed: 512 × 512 in {} forth, {} back ({})", seconds(fastest.1), seconds(fastest.2), fastest.0);
        let named: Vec<_> = rows
            .iter()
            .map(|(name, dec, rec)| json!({ "where": name, "decompose_s": dec, "reconstruct_s": rec }))
            .collect();
        self.result(&line, "times", Value::from(named));
        self.page.section("Speed");
        self.page.text(&format!(
            "One picture of 512 × 512, {}, single precision: median of 9 runs with the picture and its planes in \
             the device's memory. Batches are faster a picture; `lockstep nsct bench` measures them against the \
             floor of moving the data once.",
            describe(&NsctSpec::default())
        ));
        let bar = |s: f64| Cell::Bar(s / slowest, seconds(s));
        let table = rows.iter().map(|(name, dec, rec)| vec![name.as_str().into(), bar(*dec), bar(*rec)]);
        self.page.table(&["where", "decompose", "reconstruct"], table.collect());
        self.page.section("Next");
        self.page.commands(&[
            "lockstep nsct show your-photo.jpg -o sheet.png",
            "lockstep nsct dec your-photos/ -o coefficients/",
            "lockstep compare -- nsct dec your-photo.jpg -o c.npy    # CPU against GPU",
            "lockstep doctor",
            "lockstep --help",
        ]);
        Ok(())
    }

    fn finish(self) -> (String, Value) {
        let footer = format!(
            "Lockstep {} · photographs from scikit-image, CC0: camera (Lav Varshney), chelsea (Stefan van der \
             Walt), coffee (Rachel Michetti)",
            env!("CARGO_PKG_VERSION")
        );
        (self.page.html(&footer), Value::Object(self.results))
    }
}

/// Name, and median seconds forth and back, of one 512 × 512 picture.
fn time_of<B: NsctBackend<f32>>(b: &B, engine: Engine) -> Result<Vec<(String, f64, f64)>> {
    let photo = CAMERA.open()?;
    let [.., h, w] = photo.shape;
    let plan = NsctPlan::<B, f32>::new(b, &NsctSpec::default().with_engine(engine), h, w)?;
    let mut x = upload(b, &photo, 0..1)?;
    let mut coeffs = plan.decompose(&x)?;
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let (done, time) = b.time(|_| Ok(plan.decompose_into(&x, &mut coeffs)))?;
        done?;
        forth.push(time.as_secs_f64());
        let (done, time) = b.time(|_| Ok(plan.reconstruct_into(&coeffs, &mut x)))?;
        done?;
        back.push(time.as_secs_f64());
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let name = format!("{}, {} engine", b.device().name, plan.engine());
    Ok(vec![(name, median(forth), median(back))])
}

/// All planes of a picture, on one backend.
fn planes_of<B: NsctBackend<f32>>(b: &B, spec: &NsctSpec, photo: &Picture) -> Result<Vec<f64>> {
    let [.., h, w] = photo.shape;
    let plan = NsctPlan::<B, f32>::new(b, spec, h, w)?;
    download(b, decompose(b, &plan, photo)?.tensor())
}

/// Rings whose frequency grows from the middle to the limit at the borders.
fn zone_plate(n: usize) -> Picture {
    let middle = (n as f64 - 1.0) / 2.0;
    let at = |i: usize| ((i / n) as f64 - middle, (i % n) as f64 - middle);
    let value = |(r, c): (f64, f64)| 127.5 + 120.0 * (std::f64::consts::PI * (r * r + c * c) / n as f64).cos();
    Picture::gray(n, n, (0..n * n).map(at).map(value).collect())
}

/// Gaussian blur with mirrored borders.
fn blur(picture: &Picture, sigma: f64) -> Picture {
    let [.., h, w] = picture.shape;
    let reach = (4.0 * sigma).ceil() as i64;
    let taps: Vec<f64> = (-reach..=reach).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = taps.iter().sum();
    let pass = |plane: &[f64], along_rows: bool| -> Vec<f64> {
        let at = |r: i64, c: i64| plane[nsct::kernels::mirror(r, h) * w + nsct::kernels::mirror(c, w)];
        let one = |i: usize| {
            let (r, c) = ((i / w) as i64, (i % w) as i64);
            let shifted =
                taps.iter().zip(-reach..).map(|(t, k)| t * if along_rows { at(r, c + k) } else { at(r + k, c) });
            shifted.sum::<f64>() / sum
        };
        (0..h * w).map(one).collect()
    };
    let planes = picture.samples.chunks_exact(h * w);
    picture.with_samples(planes.flat_map(|p| pass(&pass(p, true), false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_keeps_brightness_and_smooths() {
        let picture = Picture::gray(9, 12, (0..108).map(|i| f64::from(i % 2) * 200.0).collect());
        let blurred = blur(&picture, 2.5);
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert!((mean(&blurred.samples) - mean(&picture.samples)).abs() < 1e-9);
        assert!(blurred.samples.iter().all(|v| (v - 100.0).abs() < 20.0));
        assert_eq!(largest_difference(&zone_plate(8).samples[..8], &zone_plate(8).samples[56..]), 0.0);
    }
}
