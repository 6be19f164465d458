//! The modifiers that `mma` and `wmma` have in common.

use super::types::{Elem, Shape};

/// The modifiers of an instruction sorted by kind, each kind in its order.
#[derive(Debug, Default)]
pub(super) struct Modifiers<'a> {
    pub(crate) shape: Option<Shape>,
    pub(crate) space: Option<&'a str>,
    pub(crate) saturate: bool,
    pub(crate) rounding: bool,
    layouts: Vec<&'a str>,
    types: Vec<Elem>,
}

impl<'a> Modifiers<'a> {
    /// Sorts the modifiers; nothing where one is unknown or given twice, or
    /// where `sync` or `aligned` is missing.
    pub(crate) fn parse(modifiers: &[&'a str]) -> Option<Self> {
        let mut found = Self::default();
        let (mut sync, mut aligned) = (false, false);
        let once = |flag: &mut bool| (!std::mem::replace(flag, true)).then_some(());
        for &modifier in modifiers {
            match modifier {
                "sync" => once(&mut sync)?,
                "aligned" => once(&mut aligned)?,
                "satfinite" => once(&mut found.saturate)?,
                "rn" => once(&mut found.rounding)?,
                "row" | "col" => found.layouts.push(modifier),
                "global" | "shared" | "shared::cta" if found.space.is_none() => {
                    found.space = Some(modifier);
                }
                _ => match (Elem::parse(modifier), found.shape) {
                    (Some(elem), _) => found.types.push(elem),
                    (None, None) => found.shape = Some(Shape::parse(modifier)?),
                    (None, Some(_)) => return None,
                },
            }
        }
        (sync && aligned).then_some(found)
    }

    /// The layouts in order.
    pub(crate) fn layouts(&self) -> &[&'a str] {
        &self.layouts
    }

    /// The element types in order.
    pub(crate) fn types(&self) -> &[Elem] {
        &self.types
    }

    /// Whether `.satfinite` and `.rn` go with the multiplicands' type.
    pub(crate) fn suits(&self, elem: Elem) -> bool {
        (!self.saturate || elem.is_integer()) && (!self.rounding || elem == Elem::F64)
    }
}
