//! The file beside coefficients that says what they are: `c.npy` has `c.json`.

use std::path::{Path, PathBuf};

use nsct::{Geometry, NsctSpec};
use serde_json::{Value, json};

use super::args::{spec_from_json, spec_json};
use crate::exit::{Failure, Result};
use crate::files::Draft;
use crate::pictures::{Depth, Layout, Picture};

const FORMAT: &str = "lockstep nsct coefficients";
const VERSION: u64 = 1;
/// What to do about a broken one.
pub(super) const REMEDY: &str = "write both again with `lockstep nsct dec`; or remove the .json and give --levels, \
    --dfilt, --pfilt and --geometry";

/// What is needed to turn coefficients back into the picture's kind of file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sidecar {
    pub(crate) spec: NsctSpec,
    pub(crate) shape: [usize; 5],
    pub(crate) depth: Depth,
    pub(crate) layout: Layout,
    pub(crate) source: String,
}

/// `c.json` for `c.npy`.
pub(crate) fn path_of(coefficients: &Path) -> PathBuf {
    coefficients.with_extension("json")
}

/// A document beside an array, which gets its name with it.
pub(super) fn draft(array: &Path, document: &Value) -> Result<Draft> {
    let mut draft = Draft::create(&path_of(array))?;
    draft.write(format!("{document:#}\n").as_bytes())?;
    Ok(draft)
}

impl Sidecar {
    /// For the coefficients of a picture.
    pub(crate) fn new(spec: &NsctSpec, picture: &Picture, source: &str) -> Self {
        let [b, c, h, w] = picture.shape;
        Self {
            spec: spec.clone(),
            shape: [b, c, spec.plane_count(), h, w],
            depth: picture.depth,
            layout: picture.layout,
            source: source.to_owned(),
        }
    }

    /// As a document.
    pub(crate) fn json(&self) -> Value {
        let planes: Vec<_> = self.spec.planes().iter().map(ToString::to_string).collect();
        json!({
            "format": FORMAT, "version": VERSION, "transform": spec_json(&self.spec),
            "axes": ["batch", "channel", "plane", "row", "column"], "shape": self.shape, "planes": planes,
            "source": { "name": self.source, "depth": self.depth, "layout": self.layout },
        })
    }

    /// The file beside the coefficients, which gets its name with them.
    pub(crate) fn draft(&self, coefficients: &Path) -> Result<Draft> {
        draft(coefficients, &self.json())
    }

    /// Reads it from beside the coefficients; `None` when there is none.
    pub(crate) fn read(coefficients: &Path) -> Result<Option<Self>> {
        let path = path_of(coefficients);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::reading(&path, &e)),
        };
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| Failure::input(&path, format!("this is no JSON: {e}")).help(REMEDY))?;
        Self::from_json(&value).map(Some).map_err(|e| {
            let e = e.at(&path);
            if e.help.is_some() { e } else { e.help(REMEDY) }
        })
    }

    fn from_json(value: &Value) -> Result<Self> {
        if value["format"] != FORMAT {
            return Err(Failure::usage(format!("this does not say `\"format\": \"{FORMAT}\"`")).help(REMEDY));
        }
        if value["version"] != VERSION {
            return Err(Failure::usage(format!(
                "its version is {}, and this program reads {VERSION}",
                value["version"]
            ))
            .help(REMEDY));
        }
        let broken = |what: &str| Failure::usage(format!("the entry `{what}` is missing or broken"));
        let source = &value["source"];
        // Another geometry than the planes' would give another picture.
        if !value["transform"]["geometry"].is_string() {
            return Err(broken("transform.geometry"));
        }
        Ok(Self {
            spec: spec_from_json(&value["transform"], Geometry::Wedge)?,
            shape: serde_json::from_value(value["shape"].clone()).map_err(|_| broken("shape"))?,
            depth: serde_json::from_value(source["depth"].clone()).map_err(|_| broken("source.depth"))?,
            layout: serde_json::from_value(source["layout"].clone()).map_err(|_| broken("source.layout"))?,
            source: source["name"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.npy");
        let spec = NsctSpec::new([2, 0, 3]).with_dir("pkva8".parse().unwrap());
        let sidecar = Sidecar::new(&spec, &Picture::gray(2, 3, vec![0.0; 6]), "a.png");
        assert_eq!(Sidecar::read(&path).unwrap(), None);
        sidecar.draft(&path).unwrap().finish().unwrap();
        assert_eq!(Sidecar::read(&path).unwrap(), Some(sidecar));
        let good = std::fs::read_to_string(path_of(&path)).unwrap();
        for bad in ["", "[]", "{\"format\": \"x\"}", &good.replace("\"version\": 1", "\"version\": 9")] {
            std::fs::write(path_of(&path), bad).unwrap();
            let failure = Sidecar::read(&path).unwrap_err();
            assert!(failure.message.contains("c.json") && failure.help.unwrap().contains("--levels"), "{bad}");
        }
    }
}
