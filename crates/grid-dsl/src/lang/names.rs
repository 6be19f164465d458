//! Constants, and the names of the dialect.

use crate::prim::Prim;
use crate::value::Value;

/// Which names a program may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The language: 160 functions and its constants.
    #[default]
    Core,
    /// The vocabulary of programs that score many candidates at once, on top of the language.
    Batt,
}

/// Constants of the language.
const CORE: &[(&str, Constant)] = &[
    ("F", Constant::Bool(false)),
    ("T", Constant::Bool(true)),
    ("ZERO", Constant::Int(0)),
    ("ONE", Constant::Int(1)),
    ("TWO", Constant::Int(2)),
    ("THREE", Constant::Int(3)),
    ("FOUR", Constant::Int(4)),
    ("FIVE", Constant::Int(5)),
    ("SIX", Constant::Int(6)),
    ("SEVEN", Constant::Int(7)),
    ("EIGHT", Constant::Int(8)),
    ("NINE", Constant::Int(9)),
    ("TEN", Constant::Int(10)),
    ("NEG_ONE", Constant::Int(-1)),
    ("NEG_TWO", Constant::Int(-2)),
    ("DOWN", Constant::Pair(1, 0)),
    ("RIGHT", Constant::Pair(0, 1)),
    ("UP", Constant::Pair(-1, 0)),
    ("LEFT", Constant::Pair(0, -1)),
    ("ORIGIN", Constant::Pair(0, 0)),
    ("UNITY", Constant::Pair(1, 1)),
    ("NEG_UNITY", Constant::Pair(-1, -1)),
    ("UP_RIGHT", Constant::Pair(-1, 1)),
    ("DOWN_LEFT", Constant::Pair(1, -1)),
    ("ZERO_BY_TWO", Constant::Pair(0, 2)),
    ("TWO_BY_ZERO", Constant::Pair(2, 0)),
    ("TWO_BY_TWO", Constant::Pair(2, 2)),
    ("THREE_BY_THREE", Constant::Pair(3, 3)),
];

/// Constants of the dialect `batt`: colours, flags, ranks, negative numbers.
const BATT: &[(&str, Constant)] = &[
    ("NEG_THREE", Constant::Int(-3)),
    ("NEG_FOUR", Constant::Int(-4)),
    ("NEG_FIVE", Constant::Int(-5)),
    ("NEG_SIX", Constant::Int(-6)),
    ("NEG_SEVEN", Constant::Int(-7)),
    ("NEG_EIGHT", Constant::Int(-8)),
    ("NEG_NINE", Constant::Int(-9)),
    ("NEG_TEN", Constant::Int(-10)),
    ("HUNDRED", Constant::Int(100)),
    ("THOUSAND", Constant::Int(1000)),
    ("BLACK", Constant::Int(0)),
    ("BLUE", Constant::Int(1)),
    ("RED", Constant::Int(2)),
    ("GREEN", Constant::Int(3)),
    ("YELLOW", Constant::Int(4)),
    ("GRAY", Constant::Int(5)),
    ("GREY", Constant::Int(5)),
    ("MAGENTA", Constant::Int(6)),
    ("PINK", Constant::Int(6)),
    ("ORANGE", Constant::Int(7)),
    ("CYAN", Constant::Int(8)),
    ("AZURE", Constant::Int(8)),
    ("BURGUNDY", Constant::Int(9)),
    ("MAROON", Constant::Int(9)),
    ("F0", Constant::Int(0)),
    ("F1", Constant::Int(1)),
    ("F2", Constant::Int(2)),
    ("F3", Constant::Int(3)),
    ("F4", Constant::Int(4)),
    ("F5", Constant::Int(5)),
    ("F6", Constant::Int(6)),
    ("F7", Constant::Int(7)),
    ("F8", Constant::Int(8)),
    ("F9", Constant::Int(9)),
    ("R0", Constant::Int(0)),
    ("R1", Constant::Int(1)),
    ("R2", Constant::Int(2)),
    ("R3", Constant::Int(3)),
    ("R4", Constant::Int(4)),
    ("R5", Constant::Int(5)),
    ("R6", Constant::Int(6)),
    ("R7", Constant::Int(7)),
    ("R8", Constant::Int(8)),
    ("R9", Constant::Int(9)),
    ("A0", Constant::Int(0)),
    ("A1", Constant::Int(1)),
    ("A2", Constant::Int(2)),
    ("A3", Constant::Int(3)),
    ("A4", Constant::Int(4)),
    ("A5", Constant::Int(5)),
    ("A6", Constant::Int(6)),
    ("A7", Constant::Int(7)),
    ("A8", Constant::Int(8)),
    ("A9", Constant::Int(9)),
    ("L1", Constant::Int(-1)),
    ("L2", Constant::Int(-2)),
    ("L3", Constant::Int(-3)),
    ("L4", Constant::Int(-4)),
    ("L5", Constant::Int(-5)),
    ("L6", Constant::Int(-6)),
    ("L7", Constant::Int(-7)),
    ("L8", Constant::Int(-8)),
    ("L9", Constant::Int(-9)),
    ("L10", Constant::Int(-10)),
];

#[derive(Clone, Copy)]
enum Constant {
    Bool(bool),
    Int(i32),
    Pair(i32, i32),
}

impl Constant {
    fn value(self) -> Value {
        match self {
            Self::Bool(b) => Value::Bool(b),
            Self::Int(n) => Value::Int(n),
            Self::Pair(i, j) => Value::pair(i, j),
        }
    }
}

/// All constants of a dialect with their values.
pub fn constants(dialect: Dialect) -> impl Iterator<Item = (&'static str, Value)> {
    let more = if dialect == Dialect::Batt { BATT } else { &[] };
    CORE.iter().chain(more).map(|(name, constant)| (*name, constant.value()))
}

/// A constant by its name.
pub(super) fn constant(name: &str, dialect: Dialect) -> Option<(&'static str, Value)> {
    let more = if dialect == Dialect::Batt { BATT } else { &[] };
    let (name, constant) = CORE.iter().chain(more).find(|(n, _)| *n == name)?;
    Some((name, constant.value()))
}

/// A primitive by its name; in the dialect also by the names with a suffix for the kind of argument: `height_t`.
pub(crate) fn primitive(name: &str, dialect: Dialect) -> Option<Prim> {
    let exact = Prim::by_name(name).filter(|p| dialect == Dialect::Batt || !p.is_dialect());
    if exact.is_some() || dialect == Dialect::Core {
        return exact;
    }
    let stem = ["_t", "_f", "_i", "_o"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
    let ranks = [Prim::GetArgRank, Prim::GetValRank, Prim::GetCommonRank, Prim::GetColorRank, Prim::DifferenceTuple];
    if name == "difference_t" {
        return Some(Prim::DifferenceTuple);
    }
    let synonym = |p: &Prim| !p.is_dialect() || ranks.contains(p);
    stem.or_else(|| name.strip_prefix("f_")).and_then(Prim::by_name).filter(synonym)
}

/// The nearest of some names, if it is near: for messages about typos. Every name of one letter is near every other.
pub(super) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if !(2..=40).contains(&name.len()) {
        return None;
    }
    let most = if name.len() < 4 { 1 } else { 2 };
    all.map(|other| (distance(name, other), other)).filter(|(d, _)| *d <= most).min().map(|(_, other)| other)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let step = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = step;
        }
    }
    row[b.len()]
}
