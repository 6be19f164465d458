//! The demonstration of style transfer, with the model that is inside the program.

use std::time::Instant;

use ::style::mix::{Rounding, keep_colours, mix};
use ::style::{Engine, SizePolicy, StyleBackend};
use ata_wmma::AtaBackend;
use gpu_core::{Backend as _, Cpu};
use nsct::NsctBackend;
use serde_json::json;

use super::Tour;
use crate::exit::Result;
use crate::photos::{CHELSEA, COFFEE};
use crate::pictures::largest_difference;
use crate::session::seconds;
use crate::style::{Content, Strictness, find, load};

impl<B: NsctBackend<f32> + StyleBackend + AtaBackend> Tour<'_, B> {
    pub(super) fn styling(&mut self) -> Result<()> {
        let model = load(&find(None)?, &Strictness::default())?;
        let mut engine = Engine::new(self.b, &model)?;
        self.page.section("Style transfer");
        self.page.text(
            "A network that redraws a photograph in the manner of a painting, in one pass and at any size. This one is \
             small and part of the program; the weight files that people have (safetensors, PyTorch, ONNX) work alike.",
        );
        let mut times = Vec::new();
        for (photo, name) in [(CHELSEA, "chelsea"), (COFFEE, "coffee")] {
            let picture = photo.open()?;
            let content = Content::of(&picture)?;
            engine.run(content.view()?, SizePolicy::Crop)?;
            let start = Instant::now();
            let styled = engine.run(content.view()?, SizePolicy::Crop)?;
            times.push((name, content.width, content.height, start.elapsed().as_secs_f64()));
            let mut half = styled.clone();
            let mut colours = styled.clone();
            if let (Some(over), Some(kept)) = (half.as_slice_mut(), colours.as_slice_mut()) {
                let mut under = content.planes.clone();
                mix(&mut under, over, 0.5);
                over.copy_from_slice(&under);
                keep_colours(kept, &content.planes);
            }
            let finish = |planes| content.finish(planes, 8, Rounding::Truncate);
            let shown = [
                self.keep(&format!("5-{name}.png"), &picture)?,
                self.keep(&format!("5-{name}-candy.png"), &finish(&styled))?,
                self.keep(&format!("5-{name}-half.png"), &finish(&half))?,
                self.keep(&format!("5-{name}-colours.png"), &finish(&colours))?,
            ];
            self.page.pictures(&[
                (&shown[0], "Photograph", ""),
                (&shown[1], "Styled", "candy"),
                (&shown[2], "Half of it", "--strength 0.5"),
                (&shown[3], "Its own colours", "--original-colors"),
            ]);
        }
        let said: Vec<_> =
            times.iter().map(|(name, w, h, s)| format!("{name} ({w} × {h}) in {}", seconds(*s))).collect();
        let values: Vec<_> = times
            .iter()
            .map(|(name, w, h, s)| json!({ "photo": name, "width": w, "height": h, "seconds": s }))
            .collect();
        self.result(&format!("style: {}", said.join(", ")), "style", json!(values));
        if B::NAME != Cpu::NAME {
            self.beside_the_cpu(&model, &mut engine)?;
        }
        self.page.commands(&[
            "lockstep style apply --in your-photo.jpg --out candy.jpg",
            "lockstep style apply --model mosaic.pth --in your-photos/ --out mosaic/",
        ]);
        Ok(())
    }

    /// The same picture from the CPU, in single precision.
    fn beside_the_cpu(&mut self, model: &::style::weights::StyleModel, engine: &mut Engine<B>) -> Result<()> {
        let content = Content::of(&CHELSEA.open()?)?;
        let here = engine.run(content.view()?, SizePolicy::Crop)?;
        let there = Engine::new(&Cpu::new(), model)?.run(content.view()?, SizePolicy::Crop)?;
        let grey =
            |x: &ndarray::Array4<f32>| -> Vec<f64> { x.iter().map(|v| f64::from(v.clamp(0.0, 255.0))).collect() };
        let worst = largest_difference(&grey(&here), &grey(&there));
        let precision = engine.precision();
        self.page.text(&format!(
            "Computed in {precision} on this device, the picture is at most {worst:.2} of 255 away from the one that the CPU \
             computes in f32."
        ));
        self.result(
            &format!("style, CPU in f32 and GPU in {precision}: at most {worst:.2} of 255 apart"),
            "style_cpu_and_gpu",
            json!({ "precision": precision.to_string(), "max_abs": worst }),
        );
        Ok(())
    }
}
