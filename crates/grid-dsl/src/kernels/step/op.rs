//! The operations of a step, and the functions that they take.

use super::objects;
use crate::prim::Prim;
use crate::value::{Function, Maker, Value};

macro_rules! operations {
    ($($op:ident)*) => {
        /// The operations that a device knows: primitives of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Op {
            $(#[doc = concat!("The primitive `", stringify!($op), "`.")] $op,)*
        }

        impl Op {
            /// All operations, by number.
            pub const ALL: &[Self] = &[$(Self::$op,)*];

            /// The operation of a primitive, if there is one.
            pub fn of(prim: Prim) -> Option<Self> {
                match prim {
                    $(Prim::$op => Some(Self::$op),)*
                    _ => None,
                }
            }

            /// The primitive that it is.
            pub fn prim(self) -> Prim {
                match self {
                    $(Self::$op => Prim::$op,)*
                }
            }
        }
    };
}

// The order is that of `Op` in kernels/grid_step.cu.
operations! {
    Identity Rot90 Rot180 Rot270 Hmirror Vmirror Dmirror Cmirror Trim Tophalf Bottomhalf Lefthalf
    Righthalf Crop Subgrid Upscale Hupscale Vupscale Downscale Hconcat Vconcat Cellwise Replace
    Switch Compress Canvas Fill Underfill Cover Paint Underpaint Move Ofcolor Asindices Asobject
    Toobject Objects Partition Fgpartition Merge Size First Last Argmax Argmin Colorfilter
    Sizefilter Mostcolor Leastcolor Numcolors Colorcount Color Height Width Shape Portrait Square
    Vline Hline Index Toindices Recolor Shift Normalize Uppermost Lowermost Leftmost Rightmost
    Ulcorner Urcorner Llcorner Lrcorner Corners Center Backdrop Delta Box Inbox Outbox Combine
    Intersection Difference Equality Branch Add Subtract Multiply Invert Double Halve Increment
    Decrement Crement Sign Even Positive Flip Both Either Greater Astuple Toivec Tojvec
    Dneighbors Ineighbors Neighbors Connect Hfrontier Vfrontier Sfilter Mfilter Extract
    Hsplit Vsplit
    Lbind Rbind Repeat Mostcommon Leastcommon Order Totuple Centerofmass Position Hmatching Vmatching
    Manhattan Adjacent Bordering Hperiod Vperiod Initset Insert Remove Mapply Frontiers
    Gravitate Occurrences Contained
}

impl Op {
    /// Operands that are values: functions are immediate.
    pub fn operands(self) -> usize {
        self.prim().arity() - usize::from(self.by_function())
    }

    /// Whether an argument of the primitive is a function, which an instruction names by its number.
    pub fn by_function(self) -> bool {
        self.function_at().is_some()
    }

    /// The argument that is a function.
    pub fn function_at(self) -> Option<usize> {
        match self {
            Self::Lbind | Self::Rbind | Self::Mapply => Some(0),
            Self::Argmax | Self::Argmin | Self::Order => Some(1),
            other => other.by_predicate().then_some(1),
        }
    }

    /// Whether it looks at the components of objects, which takes a warp memory of its own.
    pub(super) fn labels(self) -> bool {
        let asked = (Self::Merge as u32..=Self::Sizefilter as u32).contains(&(self as u32));
        asked || self.by_predicate() || self == Self::Mapply
    }

    fn by_predicate(self) -> bool {
        matches!(self, Self::Sfilter | Self::Mfilter | Self::Extract)
    }

    /// The number by which this operation knows a function: a primitive, or one that counts the cells of a colour.
    pub fn key_of(self, function: &Function) -> Option<u32> {
        let closure = match function {
            Function::Prim(prim) => return self.key(*prim),
            Function::Closure(closure) => closure,
        };
        let counts = matches!(self, Self::Argmax | Self::Argmin | Self::Order) && closure.maker() == Maker::Rbind;
        match closure.args() {
            [Value::Fn(Function::Prim(Prim::Colorcount)), Value::Int(colour)] if counts => {
                Some(objects::COUNTED + u32::from(i8::try_from(*colour).ok()? as u8 ^ 128))
            }
            _ => None,
        }
    }

    /// The number by which this operation knows a function of objects.
    pub fn key(self, prim: Prim) -> Option<u32> {
        match self {
            Self::Lbind | Self::Rbind => return Prim::ALL.iter().position(|&p| p == prim).map(|at| at as u32),
            Self::Mapply => {
                let known = [
                    (Prim::Identity, 0),
                    (Prim::Hmirror, 1),
                    (Prim::Vmirror, 2),
                    (Prim::Dmirror, 3),
                    (Prim::Cmirror, 4),
                    (Prim::Normalize, 5),
                    (Prim::Toindices, 6),
                    (Prim::Backdrop, 7),
                    (Prim::Box, 8),
                    (Prim::Corners, 9),
                    (Prim::Outbox, 10),
                    (Prim::Inbox, 11),
                ];
                return known.into_iter().find(|(p, _)| *p == prim).map(|(_, key)| key);
            }
            _ => {}
        }
        if self.by_predicate() {
            return match prim {
                Prim::Vline => Some(10),
                Prim::Hline => Some(11),
                Prim::Square => Some(12),
                Prim::Portrait => Some(13),
                _ => None,
            };
        }
        Some(match prim {
            Prim::Size => 0,
            Prim::Height => 1,
            Prim::Width => 2,
            Prim::Uppermost => 3,
            Prim::Lowermost => 4,
            Prim::Leftmost => 5,
            Prim::Rightmost => 6,
            Prim::Color => 7,
            Prim::Numcolors => 8,
            Prim::Mostcolor => 9,
            Prim::Leastcolor => 14,
            _ => return None,
        })
    }
}
