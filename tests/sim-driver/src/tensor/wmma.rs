//! `wmma.load`, `wmma.store` and the dispatch of `wmma`.

use super::fragment::{Fragment, Role};
use super::multiply::Mma;
use super::parse::Modifiers;

/// Order of a matrix in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// Rows follow each other, the stride apart.
    Row,
    /// Columns follow each other, the stride apart.
    Column,
}

/// State space of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    /// No state space given: a generic address.
    Generic,
    /// `.global`.
    Global,
    /// `.shared` or `.shared::cta`.
    Shared,
}

/// A `wmma.load` or `wmma.store`: a fragment and its order in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WmmaMemory {
    /// The fragment loaded or stored.
    pub(crate) fragment: Fragment,
    /// The order of the matrix in memory.
    pub(crate) layout: Layout,
    /// The state space of the address.
    pub(crate) space: Space,
}

impl WmmaMemory {
    /// The access of the modifiers after `wmma.load` or `wmma.store`, such as
    /// `a`, `sync`, `aligned`, `row`, `m16n16k16`, `shared`, `f16`.
    #[must_use]
    pub(crate) fn parse(modifiers: &[&str]) -> Option<Self> {
        let (&role, rest) = modifiers.split_first()?;
        let role = match role {
            "a" => Role::A,
            "b" => Role::B,
            "c" => Role::C,
            "d" => Role::D,
            _ => return None,
        };
        let found = Modifiers::parse(rest)?;
        let layout = match found.layouts() {
            ["row"] => Layout::Row,
            ["col"] => Layout::Column,
            _ => return None,
        };
        let &[elem] = found.types() else { return None };
        if found.saturate || found.rounding {
            return None;
        }
        let space = match found.space {
            None => Space::Generic,
            Some("global") => Space::Global,
            Some(_) => Space::Shared,
        };
        Some(Self { fragment: Fragment::wmma(found.shape?, role, elem)?, layout, space })
    }

    /// The stride in elements where the instruction gives none.
    #[must_use]
    pub(crate) const fn default_stride(&self) -> usize {
        match self.layout {
            Layout::Row => self.fragment.columns(),
            Layout::Column => self.fragment.rows(),
        }
    }

    /// Distance in elements from the matrix's address to an element of a lane.
    #[must_use]
    pub(crate) const fn offset(&self, lane: usize, element: usize, stride: usize) -> usize {
        let (row, column) = self.fragment.place(lane, element);
        match self.layout {
            Layout::Row => row * stride + column,
            Layout::Column => column * stride + row,
        }
    }
}

/// A `wmma` instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wmma {
    /// `wmma.load` of A, B or C.
    Load(WmmaMemory),
    /// `wmma.store` of D.
    Store(WmmaMemory),
    /// `wmma.mma`.
    Multiply(Mma),
}

impl Wmma {
    /// The instruction of the modifiers after `wmma`, the operation first.
    #[must_use]
    pub(crate) fn parse(modifiers: &[&str]) -> Option<Self> {
        let (&operation, rest) = modifiers.split_first()?;
        match operation {
            "mma" => Mma::parse_wmma(rest).map(Self::Multiply),
            "load" => WmmaMemory::parse(rest).filter(|access| access.fragment.role != Role::D).map(Self::Load),
            "store" => WmmaMemory::parse(rest).filter(|access| access.fragment.role == Role::D).map(Self::Store),
            _ => None,
        }
    }
}
