use std::path::PathBuf;

use clap::Args;
use gpu_core::with_backend;
use nsct::tree::wedge;
use nsct::{Geometry, NsctBackend, NsctPlan, NsctSpec};
use serde_json::{Value, json};

use super::args::{TransformArgs, describe, spec_json};
use super::responses::responses;
use super::work::Sample;
use crate::backend::BackendArgs;
use crate::exit::{Exit, Result};
use crate::pictures::{self, Depth, Writing};
use crate::session::{Session, bytes};

/// Options of `nsct info`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct info                                     the default transform of a 512 × 512 picture
  lockstep nsct info --size 1024x768 --batch 8 -l 3,4 --dfilt pkva
  lockstep nsct info -l 4 --responses wedge.png          which frequencies each direction lets through
  lockstep nsct info --json | jq '.planes[0].gain'

A plane's gain is the norm of its response to one pixel of value 1: white noise of strength s has strength s \
times gain there.")]
pub(crate) struct Info {
    /// Width and height of the picture
    #[arg(long, value_name = "WxH", default_value = "512x512", value_parser = parse_size)]
    size: (usize, usize),
    /// Pictures times channels that are transformed together
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Draw which frequencies each direction lets through, frequency 0 in the middle
    #[arg(long, value_name = "OUT")]
    responses: Option<PathBuf>,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Pixels of a picture whose tables are made.
const LARGEST: usize = 1 << 22;
/// Side of the picture that stands for a larger one.
const SMALL: usize = 512;

/// Reads `1024x768` (width first, as pictures are described) or `512`.
pub(crate) fn parse_size(text: &str) -> std::result::Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is no size; write width x height such as 640x480, or one number");
    let lower = text.to_ascii_lowercase();
    let (w, h) = lower.split_once(['x', '×']).unwrap_or((&lower, &lower));
    let one = |s: &str| s.trim().parse::<usize>().ok().filter(|n| (1..=1 << 20).contains(n)).ok_or_else(wrong);
    Ok((one(w)?, one(h)?))
}

impl Info {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec = self.transform.spec_over(NsctSpec::default())?;
        if let Some(path) = &self.responses {
            Writing::default().check(path, [1, 3, 1, 1], Depth::U8)?;
            pictures::write(path, &responses(&spec)?, Writing::default())?;
        }
        let any = self.backend.open(None)?;
        with_backend!(&any, |b| {
            if self.transform.f64 { self.on::<_, f64>(session, b, &spec) } else { self.on::<_, f32>(session, b, &spec) }
        })
    }

    fn on<B: NsctBackend<T>, T: Sample>(&self, session: &Session, b: &B, spec: &NsctSpec) -> Result<Exit> {
        let (w, h) = self.size;
        // Tables of a huge picture take minutes and more memory than there may be; its figures can be told from a small
        // one's.
        let large = h * w > LARGEST;
        let (ph, pw) = if large { (SMALL, SMALL) } else { (h, w) };
        let plan = NsctPlan::<B, T>::new(b, spec, ph, pw)?;
        let gains = plan.gains()?;
        let plane = h * w * size_of::<T>();
        let planes = spec.plane_count();
        let coefficients = plane.saturating_mul(planes).saturating_mul(self.batch);
        let workspace = (plan.workspace_bytes(self.batch) as f64 * ((h * w) as f64 / (ph * pw) as f64)) as usize;
        let pictures = plane.saturating_mul(self.batch);
        session.say(format!("{} · {w} × {h} · {} · {} engine on {}", describe(spec), T::NAME, plan.engine(), B::NAME));
        session.say(format!("planes (redundancy)    {planes}"));
        session.say(format!("pictures               {} for {} of them", bytes(pictures), self.batch));
        session.say(format!("coefficients           {}", bytes(coefficients)));
        session.say(format!("workspace              {}", bytes(workspace)));
        let together = pictures.saturating_add(coefficients).saturating_add(workspace);
        session.say(format!("together               {}", bytes(together)));
        if large {
            session.say(format!("workspace and gains are estimated from a picture of {SMALL} × {SMALL}"));
        }
        session.say("");
        session.say(format!("{:<8} {:>10}  {:>9}", "plane", "direction", "gain"));
        let mut rows = Vec::new();
        for (id, gain) in plan.planes().iter().zip(gains.iter()) {
            // In the toolbox geometry a plane below depth 4 alone is one wedge.
            let one_wedge = id.directions > 1 && (spec.geometry == Geometry::Wedge || id.directions <= 8);
            let angle = one_wedge
                .then(|| wedge(id.direction, id.directions.trailing_zeros() as u8).ok().map(|w| w.degrees()))
                .flatten();
            let shown = angle.map_or_else(|| "–".to_owned(), |a| format!("{a:.1}°"));
            session.say(format!("{:<8} {shown:>10}  {gain:>9.6}", id.to_string()));
            rows.push(json!({
                "name": id.to_string(), "scale": id.scale, "direction": id.direction, "directions": id.directions,
                "degrees": angle, "gain": gain,
            }));
        }
        session.say("");
        session.say("direction: of the frequencies in the plane, 0° along a row; edges run at right angles to it");
        session.document(&json!({
            "transform": spec_json(spec), "width": w, "height": h, "batch": self.batch, "dtype": T::NAME,
            "engine": plan.engine().to_string(), "backend": B::NAME, "device": b.device().name, "estimated": large,
            "bytes": { "pictures": pictures, "coefficients": coefficients, "workspace": workspace },
            "planes": Value::from(rows),
        }))?;
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("640x480"), Ok((640, 480)));
        assert_eq!(parse_size("512"), Ok((512, 512)));
        for bad in ["0x4", "x", "4x", "axb", "99999999"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
