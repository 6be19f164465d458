//! The primitives: one table of names, arities and kinds, and a file a family.

mod batt;
mod colours;
mod containers;
mod functions;
mod grids;
mod numbers;
mod painting;
mod patches;
mod views;

use std::fmt;

use crate::error::{Limits, Result};
use crate::machine::Machine;
use crate::value::Value;

pub(crate) use containers::merge;
pub(crate) use functions::Images;
pub(crate) use views::{part, rebuilt};

/// What the table knows about a primitive.
pub(crate) struct Entry {
    name: &'static str,
    arity: usize,
    /// Kinds of arguments and of the result, in the codes of `check::signatures`.
    pub(crate) kinds: &'static str,
    pub(crate) run: fn(&mut Machine, &[Value]) -> Result<Value>,
}

macro_rules! table {
    ($($variant:ident $name:literal $arity:literal $kinds:literal $family:ident :: $function:ident;)*) => {
        /// A primitive function. The first 160 are the language, the others belong to the dialect `batt`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Prim {
            $(#[doc = concat!("`", $name, "`: ", $kinds)] $variant,)*
        }

        const TABLE: &[Entry] = &[
            $(Entry { name: $name, arity: $arity, kinds: $kinds, run: $family::$function },)*
        ];

        impl Prim {
            /// All primitives: the 160 of the language, then those of the dialect.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The primitive of a name.
            pub fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

table! {
    // Numbers and logic
    Identity "identity" 1 "A -> =1" numbers::identity;
    Add "add" 2 "N N -> *" numbers::add;
    Subtract "subtract" 2 "N N -> *" numbers::subtract;
    Multiply "multiply" 2 "N N -> *" numbers::multiply;
    Divide "divide" 2 "N N -> *" numbers::divide;
    Invert "invert" 1 "N -> *" numbers::invert;
    Double "double" 1 "N -> *" numbers::double;
    Halve "halve" 1 "N -> *" numbers::halve;
    Increment "increment" 1 "N -> *" numbers::increment;
    Decrement "decrement" 1 "N -> *" numbers::decrement;
    Crement "crement" 1 "N -> *" numbers::crement;
    Sign "sign" 1 "N -> *" numbers::sign;
    Even "even" 1 "I -> B" numbers::even;
    Positive "positive" 1 "I -> B" numbers::positive;
    Flip "flip" 1 "A -> B" numbers::flip;
    Both "both" 2 "A A -> *" numbers::both;
    Either "either" 2 "A A -> *" numbers::either;
    Equality "equality" 2 "A A -> B" numbers::equality;
    Greater "greater" 2 "A A -> B" numbers::greater;
    Toivec "toivec" 1 "I -> *" numbers::toivec;
    Tojvec "tojvec" 1 "I -> *" numbers::tojvec;
    Astuple "astuple" 2 "A A -> *" numbers::astuple;
    Branch "branch" 3 "A A A -> *" numbers::branch;
    // Containers
    Size "size" 1 "C -> I" containers::size;
    Contained "contained" 2 "A C -> B" containers::contained;
    Combine "combine" 2 "C C -> *" containers::combine;
    Intersection "intersection" 2 "S S -> =1" containers::intersection;
    Difference "difference" 2 "C C -> *" containers::difference;
    Dedupe "dedupe" 1 "C -> *" containers::dedupe;
    Order "order" 2 "C F -> *" containers::order;
    Repeat "repeat" 2 "A I -> *" containers::repeat;
    Merge "merge" 1 "CC -> *" containers::merge;
    Maximum "maximum" 1 "C -> A" containers::maximum;
    Minimum "minimum" 1 "C -> A" containers::minimum;
    Valmax "valmax" 2 "C F -> A" containers::valmax;
    Valmin "valmin" 2 "C F -> A" containers::valmin;
    Argmax "argmax" 2 "C F -> *" containers::argmax;
    Argmin "argmin" 2 "C F -> *" containers::argmin;
    Mostcommon "mostcommon" 1 "T -> *" containers::mostcommon;
    Leastcommon "leastcommon" 1 "T -> *" containers::leastcommon;
    Initset "initset" 1 "A -> *" containers::initset;
    Insert "insert" 2 "A S -> *" containers::insert;
    Remove "remove" 2 "A C -> *" containers::remove;
    Other "other" 2 "C A -> *" containers::other;
    First "first" 1 "C -> *" containers::first;
    Last "last" 1 "C -> *" containers::last;
    Totuple "totuple" 1 "C -> *" containers::totuple;
    Sfilter "sfilter" 2 "C F -> *" containers::sfilter;
    Mfilter "mfilter" 2 "CC F -> *" containers::mfilter;
    Extract "extract" 2 "C F -> *" containers::extract;
    Sizefilter "sizefilter" 2 "CC I -> *" containers::sizefilter;
    Interval "interval" 3 "I I I -> Ti" containers::interval;
    Product "product" 2 "C C -> *" containers::product;
    Pair "pair" 2 "C C -> *" containers::pair;
    // Functions on functions
    Compose "compose" 2 "F F -> *" functions::compose;
    Chain "chain" 3 "F F F -> *" functions::chain;
    Matcher "matcher" 2 "F A -> *" functions::matcher;
    Fork "fork" 3 "F F F -> *" functions::fork;
    Rbind "rbind" 2 "F A -> *" functions::rbind;
    Lbind "lbind" 2 "F A -> *" functions::lbind;
    Power "power" 2 "F I -> *" functions::power;
    Apply "apply" 2 "F C -> *" functions::apply;
    Rapply "rapply" 2 "C A -> *" functions::rapply;
    Mapply "mapply" 2 "F C -> *" functions::mapply;
    Papply "papply" 3 "F C C -> *" functions::papply;
    Mpapply "mpapply" 3 "F C C -> *" functions::mpapply;
    Prapply "prapply" 3 "F C C -> *" functions::prapply;
    // Colours and sizes
    Mostcolor "mostcolor" 1 "E -> *" colours::mostcolor;
    Leastcolor "leastcolor" 1 "E -> *" colours::leastcolor;
    Palette "palette" 1 "E -> *" colours::palette;
    Numcolors "numcolors" 1 "E -> I" colours::numcolors;
    Colorcount "colorcount" 2 "E I -> I" colours::colorcount;
    Color "color" 1 "C -> *" colours::color;
    Colorfilter "colorfilter" 2 "CC I -> *" colours::colorfilter;
    Height "height" 1 "C -> I" colours::height;
    Width "width" 1 "Pc -> I" colours::width;
    Shape "shape" 1 "Pc -> P" colours::shape;
    Portrait "portrait" 1 "Pc -> B" colours::portrait;
    Square "square" 1 "Pc -> B" colours::square;
    Vline "vline" 1 "Pt -> B" colours::vline;
    Hline "hline" 1 "Pt -> B" colours::hline;
    Index "index" 2 "G P -> A" colours::index;
    // Patches: geometry
    Toindices "toindices" 1 "Pt -> CP" patches::toindices;
    Recolor "recolor" 2 "I Pt -> O" patches::recolor;
    Shift "shift" 2 "Pt T -> *" patches::shift;
    Normalize "normalize" 1 "Pt -> *" patches::normalize;
    Uppermost "uppermost" 1 "Pt -> I" patches::uppermost;
    Lowermost "lowermost" 1 "Pt -> I" patches::lowermost;
    Leftmost "leftmost" 1 "Pt -> I" patches::leftmost;
    Rightmost "rightmost" 1 "Pt -> I" patches::rightmost;
    Ulcorner "ulcorner" 1 "Pt -> Ti" patches::ulcorner;
    Urcorner "urcorner" 1 "Pt -> Ti" patches::urcorner;
    Llcorner "llcorner" 1 "Pt -> Ti" patches::llcorner;
    Lrcorner "lrcorner" 1 "Pt -> Ti" patches::lrcorner;
    Corners "corners" 1 "Pt -> STi" patches::corners;
    Center "center" 1 "Pt -> P" patches::center;
    Centerofmass "centerofmass" 1 "Pt -> Ti" patches::centerofmass;
    Backdrop "backdrop" 1 "Pt -> X" patches::backdrop;
    Delta "delta" 1 "Pt -> X" patches::delta;
    Box "box" 1 "Pt -> CP" patches::outline;
    Inbox "inbox" 1 "Pt -> X" patches::inbox;
    Outbox "outbox" 1 "Pt -> X" patches::outbox;
    Dneighbors "dneighbors" 1 "P -> X" patches::dneighbors;
    Ineighbors "ineighbors" 1 "P -> X" patches::ineighbors;
    Neighbors "neighbors" 1 "P -> X" patches::neighbors;
    Vfrontier "vfrontier" 1 "P -> X" patches::vfrontier;
    Hfrontier "hfrontier" 1 "P -> X" patches::hfrontier;
    Connect "connect" 2 "P P -> X" patches::connect;
    Shoot "shoot" 2 "P P -> X" patches::shoot;
    Hmatching "hmatching" 2 "Pt Pt -> B" patches::hmatching;
    Vmatching "vmatching" 2 "Pt Pt -> B" patches::vmatching;
    Manhattan "manhattan" 2 "Pt Pt -> I" patches::manhattan;
    Adjacent "adjacent" 2 "Pt Pt -> B" patches::adjacent;
    Bordering "bordering" 2 "Pt G -> B" patches::bordering;
    Position "position" 2 "Pt Pt -> P" patches::position;
    Gravitate "gravitate" 2 "Pt Pt -> P" patches::gravitate;
    // Patches and grids
    Asindices "asindices" 1 "G -> X" painting::asindices;
    Ofcolor "ofcolor" 2 "G I -> X" painting::ofcolor;
    Asobject "asobject" 1 "G -> O" painting::asobject;
    Toobject "toobject" 2 "Pt G -> O" painting::toobject;
    Objects "objects" 4 "G A A A -> Os" painting::objects;
    Partition "partition" 1 "G -> Os" painting::partition;
    Fgpartition "fgpartition" 1 "G -> Os" painting::fgpartition;
    Frontiers "frontiers" 1 "G -> Os" painting::frontiers;
    Occurrences "occurrences" 2 "G Pt -> X" painting::occurrences;
    Hperiod "hperiod" 1 "Pt -> I" painting::hperiod;
    Vperiod "vperiod" 1 "Pt -> I" painting::vperiod;
    Fill "fill" 3 "G I Pt -> G" painting::fill;
    Paint "paint" 2 "G Pt -> G" painting::paint;
    Underfill "underfill" 3 "G I Pt -> G" painting::underfill;
    Underpaint "underpaint" 2 "G Pt -> G" painting::underpaint;
    Cover "cover" 2 "G Pt -> G" painting::cover;
    Move "move" 3 "G Pt T -> G" painting::shifted;
    Subgrid "subgrid" 2 "Pt G -> G" painting::subgrid;
    // Grids
    Crop "crop" 3 "G P P -> G" grids::crop;
    Canvas "canvas" 2 "I P -> G" grids::canvas;
    Rot90 "rot90" 1 "G -> G" grids::rot90;
    Rot180 "rot180" 1 "G -> G" grids::rot180;
    Rot270 "rot270" 1 "G -> G" grids::rot270;
    Hmirror "hmirror" 1 "C -> *" grids::hmirror;
    Vmirror "vmirror" 1 "Pc -> *" grids::vmirror;
    Dmirror "dmirror" 1 "Pc -> *" grids::dmirror;
    Cmirror "cmirror" 1 "Pc -> *" grids::cmirror;
    Hupscale "hupscale" 2 "G I -> G" grids::hupscale;
    Vupscale "vupscale" 2 "T I -> *" grids::vupscale;
    Upscale "upscale" 2 "E I -> *" grids::upscale;
    Downscale "downscale" 2 "G I -> G" grids::downscale;
    Hconcat "hconcat" 2 "G G -> G" grids::hconcat;
    Vconcat "vconcat" 2 "T T -> *" grids::vconcat;
    Hsplit "hsplit" 2 "G I -> TG" grids::hsplit;
    Vsplit "vsplit" 2 "G I -> TG" grids::vsplit;
    Cellwise "cellwise" 3 "G G I -> G" grids::cellwise;
    Replace "replace" 3 "G I I -> G" grids::replace;
    Switch "switch" 3 "G I I -> G" grids::switch;
    Trim "trim" 1 "G -> G" grids::trim;
    Tophalf "tophalf" 1 "T -> *" grids::tophalf;
    Bottomhalf "bottomhalf" 1 "T -> *" grids::bottomhalf;
    Lefthalf "lefthalf" 1 "G -> G" grids::lefthalf;
    Righthalf "righthalf" 1 "G -> G" grids::righthalf;
    Compress "compress" 1 "G -> G" grids::compress;
    // The dialect `batt`
    OG "o_g" 2 "G I -> A" batt::o_g;
    OGT "o_g_t" 2 "G I -> A" batt::o_g_t;
    PG "p_g" 1 "E -> *" batt::p_g;
    PO "p_o" 1 "E -> *" batt::p_o;
    PF "p_f" 1 "E -> *" batt::p_f;
    Second "second" 1 "C -> A" batt::second;
    DifferenceTuple "difference_tuple" 2 "T T -> *" batt::difference_tuple;
    DedupePairTuple "dedupe_pair_tuple" 1 "C -> *" batt::dedupe_pair_tuple;
    CIz "c_iz" 2 "C F -> A" batt::c_iz;
    CZo "c_zo" 2 "C F -> A" batt::c_zo;
    CIzN "c_iz_n" 3 "C F F -> A" batt::c_iz_n;
    CZoN "c_zo_n" 3 "C F F -> A" batt::c_zo_n;
    AMr "a_mr" 1 "C -> A" batt::a_mr;
    MirRotT "mir_rot_t" 2 "G I -> G" batt::mir_rot_t;
    MirRotF "mir_rot_f" 2 "Pt I -> *" batt::mir_rot_f;
    GetNthT "get_nth_t" 2 "A I -> A" batt::get_nth_t;
    GetNthF "get_nth_f" 2 "S I -> A" batt::get_nth_f;
    GetNthByKeyT "get_nth_by_key_t" 3 "C I F -> A" batt::get_nth_by_key_t;
    GetNthByKeyF "get_nth_by_key_f" 3 "C I F -> A" batt::get_nth_by_key_f;
    GetArgRank "get_arg_rank" 3 "C F I -> A" batt::get_arg_rank;
    GetValRank "get_val_rank" 3 "C F I -> A" batt::get_val_rank;
    GetRank "get_rank" 2 "C I -> A" batt::get_rank;
    GetCommonRank "get_common_rank" 2 "C I -> A" batt::get_common_rank;
    GetColorRank "get_color_rank" 2 "E I -> A" batt::get_color_rank;
    Corner "corner" 2 "Pt I -> A" batt::corner;
    ColRow "col_row" 2 "Pt I -> A" batt::col_row;
}

impl Prim {
    /// How many primitives the language has; those behind them belong to the dialect.
    pub const LANGUAGE: usize = 160;

    pub(crate) fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The name in programs.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        self.entry().arity
    }

    /// Whether it belongs to the dialect `batt` alone.
    pub fn is_dialect(self) -> bool {
        self as usize >= Self::LANGUAGE
    }
}

impl fmt::Debug for Prim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls one primitive by name, with the default limits. Unknown names are [`ErrClass::Type`](crate::ErrClass::Type).
///
/// ```
/// use grid_dsl::{Value, call};
///
/// let grid: Value = r#"{"g":"01/23"}"#.parse()?;
/// assert_eq!(call("rot90", &[grid])?.to_text(), r#"{"g":"20/31"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn call(name: &str, args: &[Value]) -> Result<Value> {
    let limits = Limits::default();
    let prim = Prim::by_name(name).ok_or(crate::ErrClass::Type)?;
    args.iter().try_for_each(|value| limits.admit(value))?;
    Machine::new(&limits).prim(prim, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        assert_eq!(Prim::ALL.iter().filter(|p| !p.is_dialect()).count(), 160);
        for &prim in Prim::ALL {
            assert_eq!(Prim::by_name(prim.name()), Some(prim));
            let kinds = prim.entry().kinds.split(" -> ").next().unwrap();
            assert_eq!(kinds.split(' ').count(), prim.arity(), "{prim:?}");
        }
    }
}
