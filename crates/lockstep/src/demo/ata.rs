//! The demonstration of an LED wall: a small one, made on the spot, shows a photograph.

use ::style::StyleBackend;
use ata_wmma::kernels::{self, AtaBackend, RenderTiles};
use ata_wmma::wall::Wall;
use ata_wmma::{
    Atb, BYTE_SQUARED, DevicePatterns, FrameLayout, Graph, Plan, PlanOptions, Precision, Scale, SolveOptions, Solver,
    Transfer, ordering,
};
use gpu_core::Tensor;
use nsct::NsctBackend;
use serde_json::json;

use super::Tour;
use crate::ata::plot;
use crate::exit::Result;
use crate::photos::COFFEE;
use crate::pictures::canvas::average;
use crate::pictures::{Depth, Layout, Picture, psnr};
use crate::report::Cell;
use crate::session::seconds;

const WIDTH: usize = 240;
const HEIGHT: usize = 160;
const LEDS: usize = 700;

impl<B: NsctBackend<f32> + StyleBackend + AtaBackend> Tour<'_, B> {
    pub(super) fn led_wall(&mut self) -> Result<()> {
        let b = self.b;
        let wall = Wall { leds: LEDS, width: WIDTH, height: HEIGHT, block: 32, margin: 4, seed: 1, scale: 0.35 };
        let positions = wall.positions();
        let graph = Graph::of_windows(&wall.corners(&positions), wall.block);
        let (order, ..) = ordering::best_snake(&positions, &graph, wall.block)?;
        let patterns = wall.patterns(&order)?;
        let (a, _) = patterns.gram(b, Scale::Unit)?;
        let target = target()?;
        let bytes: Vec<u8> = target.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        let device = DevicePatterns::new(b, &patterns)?;
        let pixels = Tensor::from_slice(b, [bytes.len()], &bytes)?;
        let shape = [1, a.channels(), a.n()];
        let mut sums = Tensor::<B, u64, 1>::zeros(b, [shape.iter().product()])?;
        kernels::atb_u8(b, &device, pixels.flat(), FrameLayout::Planar, &Transfer::Identity, sums.flat_mut())?;
        let right = Atb { shape, sums: sums.to_vec(b)? }.to_f32(BYTE_SQUARED);
        let right = Tensor::from_slice(b, shape, &right)?;
        let tiles = RenderTiles::new(b, &patterns)?;
        let (mut rows, mut figures, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        let before = b.device().name.clone();
        for (name, precision, iterations) in [
            ("start: each LED by itself", Precision::F32, 0),
            ("10 iterations", Precision::Tf32x3, 10),
            ("300 iterations", Precision::Tf32x3, 300),
        ] {
            let plan = Plan::new(b, &a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() })?;
            let options = SolveOptions { max_iterations: iterations, ..SolveOptions::default() };
            let mut x = Tensor::zeros(b, shape)?;
            let solver = Solver::new(&plan, options)?;
            let (done, time) = b.time(|b| Ok(solver.solve(b, &right, &mut x)))?;
            let report = done?;
            let mut light = Tensor::<B, f32, 1>::scratch(b, [target.len()])?;
            kernels::render(b, &device, &tiles, x.flat(), light.flat_mut())?;
            let light: Vec<f64> = light.to_vec(b)?.iter().map(|&v| 255.0 * f64::from(v).clamp(0.0, 1.0)).collect();
            let db = psnr(&light, &target, 255.0);
            let time = seconds(time.as_secs_f64());
            rows.push(vec![
                name.into(),
                Cell::Text(format!("{db:.2}")),
                report.products.to_string().into(),
                time.into(),
            ]);
            figures.push(json!({ "iterations": iterations, "psnr": db, "products": report.products }));
            shown = light;
        }
        let difference = shown.iter().zip(&target).map(|(a, b)| (127.5 + a - b).clamp(0.0, 255.0)).collect();
        let db = psnr(&shown, &target, 255.0);
        self.result(
            &format!("LED wall: {LEDS} LEDs show a photograph at {db:.2} dB ({before})"),
            "led_wall",
            json!(figures),
        );
        let pictures = [
            self.keep("6-wall-target.png", &picture(target))?,
            self.keep("6-wall-result.png", &picture(shown))?,
            self.keep("6-wall-difference.png", &picture(difference))?,
            self.keep("6-wall-matrix.png", &plot(&a).picture())?,
        ];
        let stats = a.stats();
        self.page.section("An LED wall");
        self.page.text(&format!(
            "{LEDS} LEDs at random places, each with its own blurred light in three colours, are to show a photograph. Their \
             values minimise the squared error of the picture, inside [0, 1]. The matrix behind it has {} blocks of 16 x 16 \
             on {} diagonals, and is multiplied once an iteration.",
            stats.nonempty_upper_blocks,
            stats.offsets.len()
        ));
        self.page.pictures(&[
            (&pictures[0], "Target", ""),
            (&pictures[1], "What the wall shows", &format!("{db:.2} dB")),
            (&pictures[2], "Difference", "around gray"),
            (&pictures[3], "Blocks and tiles", "stored dark, mirrored light; half tiles red"),
        ]);
        self.page.table(&["values", "PSNR in dB", "products", "time"], rows);
        self.page.commands(&[
            "lockstep ata gen --leds 2624 --width 800 --height 480 --out wall/",
            "lockstep ata gram --patterns wall/ --out matrix/",
            "lockstep ata solve --matrix matrix/ --patterns wall/ --frames video.npy --out x.npy --u8 led.npy",
        ]);
        Ok(())
    }
}

/// The photograph at the size of the wall, [3, HEIGHT, WIDTH] in 0..255, light enough for LEDs that add up.
fn target() -> Result<Vec<f64>> {
    let photo = COFFEE.open()?;
    let [_, channels, height, width] = photo.shape;
    Ok((0..channels).flat_map(|c| average(photo.plane(c), height, width, (HEIGHT, WIDTH))).collect())
}

fn picture(samples: Vec<f64>) -> Picture {
    Picture { shape: [1, 3, HEIGHT, WIDTH], samples, depth: Depth::U8, layout: Layout::Hwc, alpha: None }
}
