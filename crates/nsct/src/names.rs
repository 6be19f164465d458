//! The names of filters, geometries and engines: parsing, printing, and what to say about names that do not work.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::spec::{DirFilter, Engine, Geometry, PyrFilter};
use crate::{Error, Result};

const DIRECTIONAL: &str =
    "dmaxflat1, dmaxflat2, … dmaxflat255, dmaxflat6-toolbox, pkva6, pkva8, pkva12 = pkva, cd = 7-9, vk";
const PYRAMID: &str = "maxflat, pyr, pyrexc, 9-7";
const GEOMETRY: &str = "toolbox, wedge";
const ENGINE: &str = "auto, taps, ladder, spectral, dense-reference";

/// Spellings that a misspelt directional filter is compared with.
const DIRECTIONAL_SPELLINGS: [&str; 15] = [
    "dmaxflat7",
    "dmaxflat6",
    "dmaxflat5",
    "dmaxflat4",
    "dmaxflat3",
    "dmaxflat2",
    "dmaxflat1",
    "dmaxflat6-toolbox",
    "pkva",
    "pkva6",
    "pkva8",
    "pkva12",
    "cd",
    "7-9",
    "vk",
];

const LOSES: &str =
    "without subsampling its filters lose perfect reconstruction or shift the image; use dmaxflat7 or pkva";
const ONE_DIMENSIONAL: &str =
    "it is a one-dimensional wavelet, from which no diamond filter pair follows; use dmaxflat7 or pkva";
const MISSING: &str = "the toolbox lists it but lacks the functions that would make it; use pkva or pkva6";
const UNPROVIDED: &str =
    "it reconstructs in the toolbox, but it is no polynomial in one mapping kernel; use dmaxflat7 or pkva";
const FOR_TESTS: &str = "the toolbox has it for its own tests, and it does not reconstruct; use dmaxflat7 or pkva";

/// Why the toolbox's filter `name` is not offered here; `None` for a name that the toolbox does not list either.
fn rejection(name: &str) -> Option<&'static str> {
    let numbered =
        |stem: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match name {
        "haar" | "ko" | "kos" | "lax" | "sk" | "sinc" => Some(LOSES),
        "dvmlp" => Some(UNPROVIDED),
        "oqf_362" | "ldtest" => Some(MISSING),
        "dmey" | "meyr" | "morl" | "mexh" | "5-3" | "5/3" | "burt" => Some(ONE_DIMENSIONAL),
        _ if name.starts_with("qmf") => Some(LOSES),
        _ if name.starts_with("pkva-half") => Some(MISSING),
        _ if name.starts_with("test") => Some(FOR_TESTS),
        _ if ["db", "sym", "coif", "bior", "rbio", "fk"].into_iter().any(numbered) => Some(ONE_DIMENSIONAL),
        _ => None,
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

pub(crate) fn unknown(what: &'static str, name: &str, spellings: &[&str], known: &'static str) -> Error {
    // A very long "name" is no misspelling, and the comparison is quadratic.
    let head: String = name.chars().take(40).collect();
    let nearest = spellings.iter().min_by_key(|s| distance(&head.to_lowercase(), s)).map_or("", |s| *s);
    Error::UnknownName { what, name: head, nearest: nearest.to_owned(), known }
}

impl FromStr for DirFilter {
    type Err = Error;

    /// Case does not matter.
    fn from_str(name: &str) -> Result<Self> {
        let lower = name.trim().to_ascii_lowercase();
        let digits =
            |stem: &str| lower.strip_prefix(stem).filter(|d| !d.is_empty() && d.bytes().all(|c| c.is_ascii_digit()));
        match lower.as_str() {
            "dmaxflat6-toolbox" => return Ok(Self::Dmaxflat6Toolbox),
            "pkva" => return Ok(Self::Pkva(12)),
            "cd" | "7-9" => return Ok(Self::Cd),
            "vk" => return Ok(Self::Vk),
            _ => {}
        }
        if let Some(order) = digits("dmaxflat") {
            return match order.parse() {
                Ok(n @ 1..) => Ok(Self::Dmaxflat(n)),
                _ => Err(Error::FilterOrder { family: "dmaxflat", order: order.into(), allowed: "1 to 255" }),
            };
        }
        if let Some(order) = digits("pkva") {
            return match order.parse() {
                Ok(n @ (6 | 8 | 12)) => Ok(Self::Pkva(n)),
                _ => Err(Error::FilterOrder { family: "pkva", order: order.into(), allowed: "6, 8 and 12" }),
            };
        }
        match rejection(&lower) {
            Some(why) => Err(Error::RejectedFilter { name: lower, why }),
            None => Err(unknown("directional filter", name, &DIRECTIONAL_SPELLINGS, DIRECTIONAL)),
        }
    }
}

impl Display for DirFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dmaxflat(n) => f.pad(&format!("dmaxflat{n}")),
            Self::Dmaxflat6Toolbox => f.pad("dmaxflat6-toolbox"),
            Self::Pkva(12) => f.pad("pkva"),
            Self::Pkva(n) => f.pad(&format!("pkva{n}")),
            Self::Cd => f.pad("cd"),
            Self::Vk => f.pad("vk"),
        }
    }
}

/// Names that stand for one value each; the first name of a value is the one that is printed.
macro_rules! plain_names {
    ($t:ident, $what:literal, $known:expr, { $($name:literal => $v:ident),* $(,)? }) => {
        impl std::str::FromStr for $t {
            type Err = $crate::Error;

            /// Case does not matter.
            fn from_str(name: &str) -> $crate::Result<Self> {
                match name.trim().to_ascii_lowercase().as_str() {
                    $($name => Ok(Self::$v),)*
                    _ => Err($crate::names::unknown($what, name, &[$($name),*], $known)),
                }
            }
        }

        impl $t {
            /// The name that [`FromStr`](std::str::FromStr) reads.
            pub fn name(self) -> &'static str {
                [$((Self::$v, $name)),*].into_iter().find(|&(v, _)| v == self).map_or("", |(_, name)| name)
            }
        }

        impl std::fmt::Display for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(crate) use plain_names;

plain_names!(PyrFilter, "pyramid filter", PYRAMID, {
    "maxflat" => Maxflat, "pyr" => Pyr, "pyrexc" => Pyrexc, "9-7" => NineSeven, "9/7" => NineSeven,
});
plain_names!(Geometry, "geometry", GEOMETRY, { "toolbox" => Toolbox, "wedge" => Wedge });
plain_names!(Engine, "engine", ENGINE, {
    "auto" => Auto, "taps" => Taps, "ladder" => Ladder, "spectral" => Spectral,
    "dense-reference" => DenseReference, "dense" => DenseReference,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_what_it_prints() {
        for n in 1..=u8::MAX {
            assert_eq!(format!("dmaxflat{n}").parse::<DirFilter>().unwrap(), DirFilter::Dmaxflat(n));
        }
        let named = [
            ("pkva6", DirFilter::Pkva(6)),
            ("pkva8", DirFilter::Pkva(8)),
            ("pkva12", DirFilter::Pkva(12)),
            ("pkva", DirFilter::Pkva(12)),
            ("cd", DirFilter::Cd),
            ("7-9", DirFilter::Cd),
            ("vk", DirFilter::Vk),
            ("dmaxflat6-toolbox", DirFilter::Dmaxflat6Toolbox),
            (" DMaxFlat7 ", DirFilter::Dmaxflat(7)),
        ];
        for (name, filter) in named {
            assert_eq!(name.parse::<DirFilter>().unwrap(), filter, "{name}");
            assert_eq!(filter.to_string().parse::<DirFilter>().unwrap(), filter, "{name}");
        }
        for p in [PyrFilter::Maxflat, PyrFilter::Pyr, PyrFilter::Pyrexc, PyrFilter::NineSeven] {
            assert_eq!(p.to_string().parse::<PyrFilter>().unwrap(), p);
        }
        assert_eq!(PyrFilter::NineSeven.to_string(), "9-7");
        for g in [Geometry::Toolbox, Geometry::Wedge] {
            assert_eq!(g.to_string().parse::<Geometry>().unwrap(), g);
        }
        for e in [Engine::Auto, Engine::Taps, Engine::Ladder, Engine::Spectral, Engine::DenseReference] {
            assert_eq!(e.to_string().parse::<Engine>().unwrap(), e);
        }
        assert_eq!(format!("{:>8}|", PyrFilter::Pyr), "     pyr|");
    }

    #[test]
    fn misspelt_names_get_the_nearest_one() {
        let nearest = |e: Error| match e {
            Error::UnknownName { nearest, .. } => nearest,
            other => panic!("{other:?}"),
        };
        for (name, want) in [
            ("dmaxflt7", "dmaxflat7"),
            ("maxflat5", "dmaxflat5"),
            ("pvka", "pkva"),
            ("9-7", "7-9"),
            ("pkva-6", "pkva6"),
        ] {
            assert_eq!(nearest(name.parse::<DirFilter>().unwrap_err()), want, "{name}");
        }
        assert_eq!(nearest("maxflt".parse::<PyrFilter>().unwrap_err()), "maxflat");
        assert_eq!(nearest("97".parse::<PyrFilter>().unwrap_err()), "9-7");
        assert_eq!(nearest("wegde".parse::<Geometry>().unwrap_err()), "wedge");
        assert_eq!(nearest("fft-spectral".parse::<Engine>().unwrap_err()), "spectral");
        let message = "pyrx".parse::<PyrFilter>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown pyramid filter \"pyrx\"; did you mean \"pyr\"? (known: maxflat, pyr, pyrexc, 9-7)"
        );
        assert!("é".repeat(100_000).parse::<DirFilter>().unwrap_err().to_string().len() < 400);
        assert!("".parse::<Engine>().is_err());
    }

    #[test]
    fn names_of_the_toolbox_that_do_not_work_say_why() {
        let rejected = [
            "haar",
            "ko",
            "kos",
            "lax",
            "sk",
            "qmf",
            "qmf2",
            "dvmlp",
            "sinc",
            "oqf_362",
            "test",
            "testDVM",
            "ldtest",
            "pkva-half4",
            "db4",
            "sym8",
            "coif2",
            "bior4.4",
            "5-3",
        ];
        for name in rejected {
            let e = name.parse::<DirFilter>().unwrap_err();
            assert!(matches!(e, Error::RejectedFilter { .. }), "{name}: {e}");
        }
        for (name, part) in [("dmaxflat0", "1 to 255"), ("dmaxflat256", "1 to 255"), ("pkva7", "6, 8 and 12")] {
            let e = name.parse::<DirFilter>().unwrap_err();
            assert!(matches!(e, Error::FilterOrder { .. }) && e.to_string().contains(part), "{name}: {e}");
        }
    }
}
