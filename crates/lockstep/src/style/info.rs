use ::style::weights::StyleModel;
use clap::Args;
use serde_json::json;

use super::library::{Strictness, find, load, sizes};
use crate::exit::{Exit, Result};
use crate::files::as_text;
use crate::session::Session;

/// Options of `style info`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep style info candy
  lockstep style info saved_models/mosaic.pth --json")]
pub(crate) struct Info {
    /// A weight file, or the name of a model
    #[arg(value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    strictness: Strictness,
}

impl Info {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let source = find(Some(&self.model))?;
        let model = load(&source, &self.strictness)?;
        let dtype = model.source_dtype().map_or("mixed", ::style::weights::Dtype::name);
        let flops = flops_a_pixel(&model);
        session.say(&source);
        session.say(format!("  file               {:?}, weights stored as {dtype}", model.container()));
        session.say(match model.transformer() {
            Some(shape) => format!(
                "  network            StyleViT-S, {} blocks of width {}, {} heads, windows of {} tokens",
                shape.blocks, shape.dim, shape.heads, shape.window
            ),
            None => format!(
                "  network            TransformerNet, width {}, {} residual blocks",
                model.nc(),
                model.residual_blocks()
            ),
        });
        session.say(format!("  parameters         {}", model.parameter_count()));
        session.say(format!("  work               {flops:.0} floating point operations a pixel"));
        session.say(format!("  exact in f16       {}", if model.f16_exact() { "yes" } else { "no" }));
        for (key, value) in model.metadata() {
            session.say(format!("  {key:<18} {value}"));
        }
        session.document(&json!({
            "path": source.path().map(as_text), "container": format!("{:?}", model.container()), "dtype": dtype,
            "base_channels": model.nc(), "residual_blocks": model.residual_blocks(),
            "sizes": sizes(&model), "parameters": model.parameter_count(), "flops_per_pixel": flops, "f16_exact": model.f16_exact(),
            "metadata": model.metadata(),
        }))?;
        Ok(Exit::Ok)
    }
}

/// Operations of the network as it is defined, for each pixel of the picture: a product and a sum each.
pub(super) fn flops_a_pixel(model: &StyleModel) -> f64 {
    if let Some(shape) = model.transformer() {
        return shape.flops_a_pixel();
    }
    let mut scale = 1.0;
    let mut all = 0.0;
    for layer in model.layers() {
        if layer.upsamples() {
            scale *= 4.0;
        }
        scale /= (layer.stride() * layer.stride()) as f64;
        all += 2.0 * scale * layer.weight_shape(model.nc()).iter().product::<usize>() as f64;
    }
    all
}

#[cfg(test)]
mod tests {
    use ::style::weights::VitShape;

    use super::*;

    #[test]
    fn work_of_the_public_models() {
        assert_eq!(flops_a_pixel(&StyleModel::random(32, 5, 1)), 307_584.0);
        // Embedding, linear maps, attention, decoder, convolutions: 1.5, 98.3, 16.4, 8.2 and 6.3 thousand.
        let shape = VitShape { dim: 256, heads: 4, blocks: 4, hidden: 1024, window: 16 };
        assert_eq!(flops_a_pixel(&StyleModel::random_transformer(shape, 1)).round(), 130_816.0);
    }
}
