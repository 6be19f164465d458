//! Dense filter arrays against the expansion of their polynomials.

use super::{Check, Verifier, largest};
use crate::exit::{Failure, Result};
use crate::jobs::{file_name, list};
use crate::pictures::npy;
use nsct::filters::{Channel, Directional, directional, directional_array, pyramid_array, pyramid_prototype};
use nsct::toolbox::parafilters;
use nsct::{DirFilter, PyrFilter, Side};

impl Verifier<'_> {
    /// Every array of `filters/`.
    pub(super) fn filters(&mut self) -> Result<()> {
        let folder = self.args.dir.join("filters");
        if !folder.is_dir() {
            self.note("there is no folder filters".to_owned());
            return Ok(());
        }
        // The index, when there is one, also tells of arrays that are missing.
        let index = self.document("filters/index.json")?;
        let listed = index.iter().flat_map(|i| i.as_array().into_iter().flatten()).filter_map(|e| e["name"].as_str());
        let mut names: Vec<String> = listed.map(str::to_owned).collect();
        for path in list(&folder)? {
            if let Some(stem) = file_name(&path).strip_suffix(".npy")
                && !names.iter().any(|n| n == stem)
            {
                names.push(stem.to_owned());
            }
        }
        if !self.wants_type("f64") {
            return Ok(());
        }
        for name in names {
            if self.skips(&name) {
                continue;
            }
            let Some(expansion) = expansion(&name) else {
                self.note(format!("filters/{name}: a name of this kind is unknown and was not checked"));
                continue;
            };
            let outcome = expansion.and_then(|(shape, got)| {
                let wanted = npy::read(&folder.join(format!("{name}.npy")))?;
                if wanted.shape != shape {
                    return Err(Failure::usage(format!("shape {shape:?}, the file has {:?}", wanted.shape)));
                }
                Ok(vec![Check::new("taps", largest(&got, &wanted.values), 2e-15)])
            });
            self.line(&name, "expansion", "f64", outcome);
        }
        Ok(())
    }
}

type Dense = (Vec<usize>, Vec<f64>);

fn dense(array: &ndarray::Array2<f64>) -> Dense {
    (array.shape().to_vec(), array.iter().copied().collect())
}

fn bank(name: &str) -> Option<(Side, Channel)> {
    Some(match name {
        "h0" => (Side::Analysis, Channel::First),
        "h1" => (Side::Analysis, Channel::Second),
        "g0" => (Side::Synthesis, Channel::First),
        "g1" => (Side::Synthesis, Channel::Second),
        _ => return None,
    })
}

/// The array that a file's name stands for; `None` for a name of an unknown kind.
fn expansion(name: &str) -> Option<Result<Dense>> {
    let (kind, rest) = name.split_once('_')?;
    let (family, which) = rest.rsplit_once('_')?;
    match kind {
        "pyr" => {
            let (side, channel) = bank(which)?;
            let of = |f: PyrFilter| dense(&pyramid_array(&pyramid_prototype(f), side, channel));
            Some(family.replace('_', "-").parse().map(of).map_err(Failure::from))
        }
        "dir" => match bank(which) {
            Some((side, channel)) => Some(family_of(family).map(|f| dense(&directional_array(&f, side, channel)))),
            None => sheared(family, which),
        },
        _ => None,
    }
}

/// `dmaxflat7` and `f1` and 3: a parallelogram filter.
fn sheared(rest: &str, number: &str) -> Option<Result<Dense>> {
    let (family, which) = rest.rsplit_once('_')?;
    let i = number.parse::<usize>().ok().filter(|i| (1..=4).contains(i))? - 1;
    let second = match which {
        "f1" => false,
        "f2" => true,
        _ => return None,
    };
    Some(family_of(family).map(|f| {
        let array = |channel| directional_array(&f, Side::Analysis, channel);
        let (first, last) = parafilters(&array(Channel::First), &array(Channel::Second));
        dense(if second { &last[i] } else { &first[i] })
    }))
}

fn family_of(name: &str) -> Result<Directional> {
    Ok(directional(name.replace('_', "-").parse::<DirFilter>()?)?)
}
