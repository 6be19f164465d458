//! Options that describe the transform, shared by the subcommands.

use clap::Args;
use nsct::{DirFilter, Engine, Geometry, NsctSpec, PyrFilter};
use serde_json::{Value, json};

use crate::exit::{Failure, Result};

/// The depth of each scale's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Levels(pub(crate) Vec<u8>);

/// Which transform.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Transform")]
pub(crate) struct TransformArgs {
    /// Depth of each scale, coarse to fine: 2,3,3,4 is four scales of 4, 8, 8 and 16 directions; 0 leaves a scale whole
    /// [default: 2,3,3,4, and 3,3,4,4 to denoise]
    #[arg(short, long, value_name = "L1,L2,…", value_parser = parse_levels)]
    pub(crate) levels: Option<Levels>,
    /// Directional filter: dmaxflat1…, pkva, pkva6, pkva8, cd, vk, dmaxflat6-toolbox [default: dmaxflat7]
    #[arg(long, value_name = "NAME")]
    pub(crate) dfilt: Option<DirFilter>,
    /// Pyramid filter: maxflat, pyr, pyrexc, 9-7 [default: maxflat]
    #[arg(long, value_name = "NAME")]
    pub(crate) pfilt: Option<PyrFilter>,
    /// wedge: each plane is one wedge of directions; toolbox: as the published toolbox, same up to depth 3 [default: wedge]
    #[arg(long, value_name = "NAME")]
    pub(crate) geometry: Option<Geometry>,
    /// auto, taps, ladder (pkva only), spectral, dense-reference [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<Engine>,
    /// Compute and write in double precision
    #[arg(long)]
    pub(crate) f64: bool,
}

impl TransformArgs {
    /// The specification, with what was not given taken from `base`.
    pub(crate) fn spec_over(&self, base: NsctSpec) -> Result<NsctSpec> {
        let spec = NsctSpec {
            levels: self.levels.as_ref().map_or(base.levels, |l| l.0.clone()),
            dir: self.dfilt.unwrap_or(base.dir),
            pyr: self.pfilt.unwrap_or(base.pyr),
            geometry: self.geometry.unwrap_or(base.geometry),
            engine: self.engine.unwrap_or(base.engine),
        };
        spec.validate()?;
        Ok(spec)
    }

    /// The specification, with these levels unless others were given.
    pub(crate) fn spec(&self, levels: &[u8]) -> Result<NsctSpec> {
        self.spec_over(NsctSpec::new(levels))
    }
}

/// Reads `2,3,3,4`. The limit of each level is checked with the whole specification, which names the scale.
pub(crate) fn parse_levels(text: &str) -> std::result::Result<Levels, String> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    if text.is_empty() || text == "none" {
        return Ok(Levels(Vec::new()));
    }
    let one = |part: &str| {
        part.trim()
            .parse::<u8>()
            .map_err(|_| format!("`{part}` is no depth; write numbers from 0 to 8 such as 2,3,3,4"))
    };
    let levels = text.split(',').map(one).collect::<std::result::Result<Vec<_>, _>>()?;
    if levels.len() > 30 {
        return Err(format!("{} scales are too many; at most 30 are possible", levels.len()));
    }
    if let Some((scale, level)) = levels.iter().enumerate().find(|(_, l)| **l > nsct::MAX_LEVEL) {
        return Err(format!("depth {level} of scale {} is too deep; 0 to {} are possible", scale + 1, nsct::MAX_LEVEL));
    }
    Ok(Levels(levels))
}

/// Reads the ending of a format that pictures can be written in.
pub(crate) fn parse_format(text: &str) -> std::result::Result<String, String> {
    let name = text.trim_start_matches('.').to_ascii_lowercase();
    if matches!(name.as_str(), "png" | "tif" | "tiff" | "jpg" | "jpeg" | "pgm" | "ppm" | "pnm" | "npy") {
        Ok(name)
    } else {
        Err(format!("`{text}` cannot be written; png, tif, jpg, pgm, ppm and npy can"))
    }
}

/// Reads `8` or `16`.
pub(crate) fn parse_bits(text: &str) -> std::result::Result<u8, String> {
    match text {
        "8" => Ok(8),
        "16" => Ok(16),
        _ => Err(format!("`{text}` bits cannot be written; 8 and 16 can")),
    }
}

/// The specification as written into sidecars, journals and `--json`.
pub(crate) fn spec_json(spec: &NsctSpec) -> Value {
    json!({
        "levels": spec.levels, "dfilt": spec.dir.to_string(), "pfilt": spec.pyr.to_string(),
        "geometry": spec.geometry.to_string(), "engine": spec.engine.to_string(),
    })
}

/// Reads what [`spec_json`] wrote; also the manifest of a data folder, where geometry and engine may be missing.
pub(crate) fn spec_from_json(value: &Value, geometry: Geometry) -> Result<NsctSpec> {
    let missing = |what: &str| Failure::usage(format!("the entry `{what}` is missing or is no text"));
    let text = |what: &str| value[what].as_str().ok_or_else(|| missing(what));
    let levels = value["levels"]
        .as_array()
        .and_then(|l| l.iter().map(|v| v.as_u64().and_then(|v| u8::try_from(v).ok())).collect::<Option<Vec<_>>>())
        .ok_or_else(|| Failure::usage("the entry `levels` is missing or is no list of small numbers"))?;
    let spec = NsctSpec {
        levels,
        dir: text("dfilt")?.parse()?,
        pyr: text("pfilt")?.parse()?,
        geometry: value["geometry"].as_str().map_or(Ok(geometry), str::parse)?,
        engine: value["engine"].as_str().map_or(Ok(Engine::Auto), str::parse)?,
    };
    spec.validate()?;
    Ok(spec)
}

/// `2,3,3,4 dmaxflat7 maxflat wedge` for people.
pub(crate) fn describe(spec: &NsctSpec) -> String {
    let levels: Vec<_> = spec.levels.iter().map(ToString::to_string).collect();
    let levels = if levels.is_empty() { "no scales".to_owned() } else { format!("levels {}", levels.join(",")) };
    format!("{levels} · {} · {} · {}", spec.dir, spec.pyr, spec.geometry)
}

impl From<nsct::Error> for Failure {
    fn from(error: nsct::Error) -> Self {
        match error {
            nsct::Error::Gpu(inner) => inner.into(),
            nsct::Error::UnknownName { nearest, what, ref name, known } => {
                Self::usage(format!("unknown {what} \"{name}\""))
                    .help(format!("did you mean {nearest}? known are {known}"))
            }
            other => Self::usage(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read() {
        assert_eq!(parse_levels("2,3, 3,4"), Ok(Levels(vec![2, 3, 3, 4])));
        assert_eq!(parse_levels("[0]"), Ok(Levels(vec![0])));
        assert_eq!(parse_levels(""), Ok(Levels(vec![])));
        for bad in ["9", "2;3", "2,,3", "-1", "256", "two"] {
            assert!(parse_levels(bad).is_err(), "{bad}");
        }
        assert!(parse_levels("2,9").unwrap_err().contains("scale 2"));
    }

    #[test]
    fn a_specification_survives_the_sidecar() {
        let spec = NsctSpec::new([0, 3]).with_dir(DirFilter::Pkva(6)).with_engine(Engine::Ladder);
        assert_eq!(spec_from_json(&spec_json(&spec), Geometry::Toolbox).unwrap(), spec);
        let bad = json!({"levels": [2], "dfilt": "dmaxflt7", "pfilt": "pyr"});
        let failure = spec_from_json(&bad, Geometry::Toolbox).unwrap_err();
        assert!(failure.help.unwrap().contains("dmaxflat7"));
    }
}
