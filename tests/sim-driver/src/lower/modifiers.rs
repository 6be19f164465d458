//! The modifiers that each instruction may have. What is not here would otherwise be read over, and an instruction
//! that does something else would be taken for one that is known.

use crate::ptx::Type;

/// Modifiers beside types; `None` where the instruction is not known, or looks at its modifiers by itself.
fn of(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "bra" | "call" | "ret" => &["uni"],
        "brx" => &["idx", "uni"],
        "exit" | "trap" | "brkpt" | "mov" | "selp" | "popc" | "clz" | "brev" | "bfe" | "bfi" | "lop3" | "and"
        | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "dp4a" | "activemask" | "rem" | "sad" | "copysign" => &[],
        "bar" => &["sync", "arrive", "red", "popc", "and", "or", "warp", "cta"],
        "barrier" => &[
            "sync", "arrive", "red", "popc", "and", "or", "cta", "aligned", "cluster", "wait", "acquire", "release",
            "relaxed",
        ],
        "shfl" => &["sync", "up", "down", "bfly", "idx"],
        "vote" => &["sync", "all", "any", "uni", "ballot"],
        "match" => &["any", "all", "sync"],
        "redux" => &["sync", "add", "min", "max", "and", "or", "xor"],
        "elect" => &["sync"],
        "nanosleep" => &[],
        "pmevent" => &["mask"],
        "prefetch" | "prefetchu" => {
            &["global", "local", "const", "param", "tensormap", "L1", "L2", "L2::evict_last", "L2::evict_normal"]
        }
        "discard" => &["global", "L2"],
        "applypriority" => &["global", "L2::evict_normal"],
        "griddepcontrol" => &["launch_dependents", "wait"],
        "setmaxnreg" => &["inc", "dec", "sync", "aligned"],
        "isspacep" | "cvta" => {
            &["to", "global", "const", "shared", "shared::cta", "shared::cluster", "local", "param", "param::entry"]
        }
        "slct" => &["ftz"],
        "setp" | "set" => &[
            "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
            "num", "nan", "and", "or", "xor", "ftz",
        ],
        "mul" | "mad" | "madc" => &["lo", "hi", "wide", "sat", "cc", "rn", "rz", "rm", "rp", "ftz"],
        "mul24" | "mad24" => &["lo", "hi", "sat"],
        "addc" | "subc" => &["cc"],
        "shf" => &["l", "r", "wrap", "clamp"],
        "prmt" => &["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"],
        "bfind" => &["shiftamt"],
        "bmsk" | "szext" => &["clamp", "wrap"],
        "dp2a" => &["lo", "hi"],
        _ => return None,
    })
}

/// A modifier that the instruction does not have.
pub(super) fn unknown<'p>(parts: &[&'p str]) -> Option<&'p str> {
    let allowed = of(parts.first()?)?;
    parts[1..].iter().copied().find(|part| !allowed.contains(part) && Type::parse(part).is_none())
}
