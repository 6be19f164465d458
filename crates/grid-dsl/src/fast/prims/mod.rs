//! Primitives on values in fixed layouts. Each gives `None` for what it does not take, before it has used fuel or called
//! anything: then the definition computes it.

mod colours;
mod containers;
mod functions;
mod grids;
pub(super) mod numbers;
mod painting;
mod patches;
mod place;

use super::machine::Fast;
use super::val::{Dense, MIDDLE, Patch, Val, at, colour_of};
use crate::error::{ErrClass, Result};
use crate::prim::Prim;

/// The result, unless the arguments are for the definition.
type Maybe = Option<Result<Val>>;

/// Computes a primitive, if it takes these arguments.
pub(crate) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    use Prim as P;
    match prim {
        P::Identity => Some(Ok(a[0].clone())),
        P::Add | P::Subtract | P::Multiply | P::Divide => numbers::binary(prim, a[0], a[1]),
        P::Invert | P::Double | P::Halve | P::Increment | P::Decrement | P::Crement | P::Sign => {
            numbers::unary(prim, a[0])
        }
        P::Even => a[0].as_int().map(|n| Ok(Val::Bool(n % 2 == 0))),
        P::Positive => a[0].as_int().map(|n| Ok(Val::Bool(n > 0))),
        P::Flip => Some(Ok(Val::Bool(!a[0].truth()))),
        P::Both => Some(Ok(if a[0].truth() { a[1] } else { a[0] }.clone())),
        P::Either => Some(Ok(if a[0].truth() { a[0] } else { a[1] }.clone())),
        P::Equality => Some(Ok(Val::Bool(a[0] == a[1]))),
        P::Greater => Some(super::order::compare(a[0], a[1]).map(|o| Val::Bool(o.is_gt()))),
        P::Toivec | P::Tojvec => numbers::vector(prim, a[0]),
        P::Astuple => Some(tuple(f, a.iter().map(|v| (*v).clone()).collect())),
        P::Branch => Some(Ok(if a[0].truth() { a[1] } else { a[2] }.clone())),
        P::Size
        | P::Contained
        | P::Combine
        | P::Intersection
        | P::Difference
        | P::Dedupe
        | P::Repeat
        | P::Merge
        | P::Maximum
        | P::Minimum
        | P::Mostcommon
        | P::Leastcommon
        | P::Initset
        | P::Insert
        | P::Remove
        | P::Other
        | P::First
        | P::Last
        | P::Totuple
        | P::Sizefilter
        | P::Interval
        | P::Product
        | P::Pair => containers::run(f, prim, a),
        P::Order
        | P::Valmax
        | P::Valmin
        | P::Argmax
        | P::Argmin
        | P::Sfilter
        | P::Mfilter
        | P::Extract
        | P::Compose
        | P::Chain
        | P::Matcher
        | P::Fork
        | P::Rbind
        | P::Lbind
        | P::Power
        | P::Apply
        | P::Rapply
        | P::Mapply
        | P::Papply
        | P::Mpapply
        | P::Prapply => Some(functions::run(f, prim, a)),
        P::Mostcolor
        | P::Leastcolor
        | P::Palette
        | P::Numcolors
        | P::Colorcount
        | P::Color
        | P::Colorfilter
        | P::Height
        | P::Width
        | P::Shape
        | P::Portrait
        | P::Square
        | P::Vline
        | P::Hline
        | P::Index => colours::run(f, prim, a),
        P::Toindices
        | P::Recolor
        | P::Shift
        | P::Normalize
        | P::Uppermost
        | P::Lowermost
        | P::Leftmost
        | P::Rightmost
        | P::Ulcorner
        | P::Urcorner
        | P::Llcorner
        | P::Lrcorner
        | P::Corners
        | P::Center
        | P::Centerofmass
        | P::Backdrop
        | P::Delta
        | P::Box
        | P::Inbox
        | P::Outbox => patches::run(f, prim, a),
        P::Dneighbors
        | P::Ineighbors
        | P::Neighbors
        | P::Vfrontier
        | P::Hfrontier
        | P::Connect
        | P::Shoot
        | P::Hmatching
        | P::Vmatching
        | P::Manhattan
        | P::Adjacent
        | P::Bordering
        | P::Position
        | P::Gravitate => place::run(f, prim, a),
        P::Asindices
        | P::Ofcolor
        | P::Asobject
        | P::Toobject
        | P::Objects
        | P::OG
        | P::Partition
        | P::Fgpartition
        | P::Frontiers
        | P::Occurrences
        | P::Hperiod
        | P::Vperiod
        | P::Fill
        | P::Paint
        | P::Underfill
        | P::Underpaint
        | P::Cover
        | P::Move
        | P::Subgrid => painting::run(f, prim, a),
        P::Crop
        | P::Canvas
        | P::Rot90
        | P::Rot180
        | P::Rot270
        | P::Hmirror
        | P::Vmirror
        | P::Dmirror
        | P::Cmirror
        | P::Hupscale
        | P::Vupscale
        | P::Upscale
        | P::Downscale
        | P::Hconcat
        | P::Vconcat
        | P::Hsplit
        | P::Vsplit
        | P::Cellwise
        | P::Replace
        | P::Switch
        | P::Trim
        | P::Tophalf
        | P::Bottomhalf
        | P::Lefthalf
        | P::Righthalf
        | P::Compress => grids::run(f, prim, a),
        _ => None,
    }
}

/// A tuple, within the limits.
fn tuple(f: &Fast, items: Vec<Val>) -> Result<Val> {
    f.limits().elements(items.len())?;
    Val::tuple(items).within(f.limits())
}

/// The set of these, within the limits.
fn set(f: &Fast, items: Vec<Val>) -> Result<Val> {
    Val::set(items).within(f.limits())
}

/// A container of the kind of `like`.
fn rebuilt(f: &Fast, like: &Val, items: Vec<Val>) -> Result<Val> {
    if like.is_set() { set(f, items) } else { tuple(f, items) }
}

/// A container of some elements of `like`, in their order.
fn part(like: &Val, items: Vec<Val>) -> Val {
    if like.is_set() { Val::sorted_set(items) } else { Val::tuple(items) }
}

/// The longest side of a grid here: within the limits, and so that keys of all locations exist. The definition does the others.
fn longest(f: &Fast) -> usize {
    f.limits().side.min(MIDDLE as usize - 1)
}

/// A grid that functions on grids may read.
fn grid<'a>(f: &Fast, value: &'a Val) -> Option<&'a Dense> {
    match value {
        Val::Grid(grid) if grid.h.max(grid.w) <= longest(f) => Some(grid),
        _ => None,
    }
}

/// A grid, if its sides are within the limits; else the definition says what is wrong.
fn made(f: &Fast, h: usize, w: usize, cells: Vec<i8>) -> Maybe {
    (h.max(w) <= longest(f)).then(|| Ok(Val::grid(h, w, cells)))
}

/// Keys as a set, if there are not too many.
fn keys(f: &Fast, keys: Vec<u64>, object: bool) -> Maybe {
    (keys.len() <= f.limits().elements).then(|| Ok(Val::patch_of(keys, object)))
}

/// So many keys, if all are there.
fn all_keys(n: usize, each: impl Iterator<Item = Option<u64>>) -> Option<Vec<u64>> {
    let mut all = Vec::with_capacity(n);
    for key in each {
        all.push(key?);
    }
    Some(all)
}

/// A patch in packed form.
fn packed(value: &Val) -> Option<&Patch> {
    match value {
        Val::Patch(patch) => Some(patch),
        _ => None,
    }
}

/// Whether a value is an empty container.
fn is_empty(value: &Val) -> bool {
    matches!(value, Val::Tuple(seq) | Val::Set(seq) if seq.items.is_empty())
}

/// Counts of the colours -128..127, of the cells of a grid or a packed object.
pub(crate) struct Histogram([u32; 256]);

impl Histogram {
    /// The count of a colour.
    pub(crate) fn count(&self, colour: i8) -> u32 {
        self.0[(i16::from(colour) + 128) as usize]
    }

    pub(crate) fn of_cells(cells: &[i8]) -> Self {
        let mut counts = [0; 256];
        for &cell in cells {
            counts[(i16::from(cell) + 128) as usize] += 1;
        }
        Self(counts)
    }

    fn of_object(keys: &[u64]) -> Self {
        let mut counts = [0; 256];
        for &key in keys {
            counts[((key >> 32) & 0xff) as usize] += 1;
        }
        Self(counts)
    }

    /// Of a grid or a packed object.
    fn of(f: &Fast, value: &Val) -> Option<Self> {
        match value {
            Val::Patch(patch) if patch.object => Some(Self::of_object(&patch.keys)),
            other => Some(Self::of_cells(&grid(f, other)?.cells)),
        }
    }

    /// Colours that are there, ascending, with their counts.
    pub(crate) fn present(&self) -> impl DoubleEndedIterator<Item = (i32, u32)> + '_ {
        self.0.iter().enumerate().filter(|(_, n)| **n > 0).map(|(c, n)| (c as i32 - 128, *n))
    }

    /// The most frequent colour, the lowest of several.
    pub(crate) fn most(&self) -> i32 {
        self.present().rev().max_by_key(|(_, n)| *n).map_or(0, |(c, _)| c)
    }

    fn least(&self) -> i32 {
        self.present().min_by_key(|(_, n)| *n).map_or(0, |(c, _)| c)
    }
}

/// The cells of a patch in any form that holds locations: colour, if it has one, row and column, in iteration order. An
/// empty patch has none. `None` for what the definition must look at.
enum Cells<'a> {
    Packed(&'a Patch),
    Listed(&'a [Val]),
}

impl<'a> Cells<'a> {
    fn of(value: &'a Val) -> Option<Self> {
        match value {
            Val::Patch(patch) => Some(Self::Packed(patch)),
            Val::Tuple(seq) | Val::Set(seq) => {
                let alike = match seq.items.first() {
                    None => true,
                    Some(Val::Cell(..)) => seq.items.iter().all(|v| matches!(v, Val::Cell(..))),
                    Some(Val::Pair(..)) => seq.items.iter().all(|v| matches!(v, Val::Pair(..))),
                    _ => false,
                };
                alike.then_some(Self::Listed(&seq.items))
            }
            _ => None,
        }
    }

    /// Whether these are locations without colours.
    fn bare(&self) -> bool {
        match self {
            Self::Packed(patch) => !patch.object,
            Self::Listed(all) => matches!(all.first(), Some(Val::Pair(..))),
        }
    }

    fn each(&self, mut see: impl FnMut(i32, i32, i32)) {
        match self {
            Self::Packed(patch) => {
                for &key in &patch.keys {
                    let (i, j) = at(key);
                    see(colour_of(key), i, j);
                }
            }
            Self::Listed(all) => {
                for value in *all {
                    match value {
                        Val::Cell(c, i, j) => see(*c, *i, *j),
                        Val::Pair(i, j) => see(0, *i, *j),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// A function, or the class that the definition gives to what is none.
fn function(value: &Val) -> Result<&Val> {
    if value.is_function() { Ok(value) } else { Err(ErrClass::Type) }
}
